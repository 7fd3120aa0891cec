--- The icon of the pages, as SVG.
return [[
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7"
fill="#0b6e5f"/><path d="M10 9h12l-1.5 16h-9z" fill="#fff"/><path d="M17 9l3-5" stroke="#fff"
stroke-width="2" stroke-linecap="round"/></svg>
]]
