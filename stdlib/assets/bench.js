/* Draws the plots of the report: for each canvas, values in order or a histogram. */
(function () {
  "use strict";
  var plots = JSON.parse(document.getElementById("plots").textContent);
  if (!plots.length || typeof Chart === "undefined") {
    return;
  }
  var style = getComputedStyle(document.documentElement);
  function colour(name) {
    return style.getPropertyValue("--" + name).trim();
  }
  Chart.defaults.animation = false;
  Chart.defaults.maintainAspectRatio = false;
  Chart.defaults.color = colour("dim");
  Chart.defaults.borderColor = colour("line");
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;

  function axis(title, ticks) {
    return { type: "linear", ticks: ticks || {}, title: { display: !!title, text: title } };
  }
  function name(plot) {
    return plot.name + (plot.unit ? ", " + plot.unit : "");
  }
  /* A limit is a dashed line from the first value to the last; one that is far away, and would
   * flatten the values, is hidden until its name is clicked. */
  function limits(plot, from, to) {
    var lines = [];
    var most = Math.max.apply(null, plot.points.map(function (p) { return Math.abs(p[1]); }));
    function add(kind, sign) {
      Object.keys(plot[kind] || {}).forEach(function (key) {
        var y = plot[kind][key];
        lines.push({
          hidden: Math.abs(y) > 1.5 * most, label: key + " " + sign + " " + y, data: [{ x: from, y: y }, { x: to, y: y }],
          borderColor: colour("bad"), borderDash: [6, 4], borderWidth: 1.5, pointRadius: 0
        });
      });
    }
    add("at_most", "\u2264");
    add("at_least", "\u2265");
    return lines;
  }
  function values(plot) {
    var points = plot.points.map(function (p) { return { x: p[0], y: p[1] }; });
    var few = points.length <= 60;
    var own = {
      label: name(plot), data: points, borderColor: colour("accent"),
      backgroundColor: colour("accent"), borderWidth: few ? 2 : 1, pointRadius: few ? 3 : 0,
      pointHitRadius: 8
    };
    return {
      type: "line",
      data: { datasets: [own].concat(limits(plot, points[0].x, points[points.length - 1].x)) },
      options: {
        parsing: false,
        scales: { x: axis("measurement", { precision: 0 }), y: axis(plot.unit) },
        plugins: { legend: { labels: { boxHeight: 1, boxWidth: 18 } } }
      }
    };
  }
  function histogram(plot) {
    var width = plot.histogram[0][1] - plot.histogram[0][0];
    var digits = width > 0 ? Math.max(0, Math.min(9, -Math.floor(Math.log10(width)))) : 3;
    function short(x) {
      return Number(x.toFixed(digits)).toString();
    }
    return {
      type: "bar",
      data: {
        labels: plot.histogram.map(function (b) { return short((b[0] + b[1]) / 2); }),
        datasets: [{
          label: name(plot), data: plot.histogram.map(function (b) { return b[2]; }),
          backgroundColor: colour("accent"), barPercentage: 1, categoryPercentage: 0.92
        }]
      },
      options: {
        scales: {
          x: { grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 12 },
            title: { display: !!plot.unit, text: plot.unit } },
          y: { beginAtZero: true, ticks: { precision: 0 } }
        },
        plugins: {
          legend: { display: false },
          tooltip: { callbacks: { title: function (items) {
            var b = plot.histogram[items[0].dataIndex];
            return short(b[0]) + " to " + short(b[1]) + (plot.unit ? " " + plot.unit : "");
          } } }
        }
      }
    };
  }
  document.querySelectorAll("canvas[data-plot]").forEach(function (canvas) {
    var plot = plots[Number(canvas.dataset.plot)];
    new Chart(canvas, canvas.dataset.kind === "values" ? values(plot) : histogram(plot));
  });
})();
