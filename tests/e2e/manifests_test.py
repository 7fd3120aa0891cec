"""Container files: compose and Kubernetes manifests against their schemas, and what they name is there."""

import json
import os
import pathlib
import re
import sys
import unittest

from support import pypi

PACKAGES = pypi.packages("deploy")
sys.path.insert(0, str(PACKAGES))
import jsonschema  # noqa: E402
import kubernetes_validate  # noqa: E402
import yaml  # noqa: E402

SOURCE = pathlib.Path(os.environ["SIPEAT_SOURCE"])
DEPLOY = SOURCE / "deploy"
KUBERNETES = "1.36"  # of the schemas


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


class Compose(unittest.TestCase):
    def setUp(self):
        self.file = DEPLOY / "compose/compose.yaml"
        self.compose = yaml.safe_load(self.file.read_text())

    def test_it_follows_the_schema(self):
        schema = json.loads((PACKAGES / "compose/config/compose_spec.json").read_text())
        jsonschema.validate(self.compose, schema)
        self.compose["services"]["kafka"]["prots"] = []
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.validate(self.compose, schema)

    def test_everything_that_is_mounted_or_built_is_there(self):
        volumes = set(self.compose["volumes"])
        for name, service in self.compose["services"].items():
            for volume in service.get("volumes", []):
                place = volume.split(":")[0]
                self.assertTrue((self.file.parent / place).exists() if place.startswith(".") else place in volumes,
                                f"{name}: {volume}")
            for other in service.get("depends_on", {}):
                self.assertIn(other, self.compose["services"])
            if "build" in service:
                context = self.file.parent / service["build"]["context"]
                text = (context / service["build"]["dockerfile"]).read_text()
                self.assertIn(f" AS {service['build']['target']}\n", text)

    def test_prometheus_scrapes_services_of_the_file(self):
        config = yaml.safe_load((DEPLOY / "compose/prometheus.yaml").read_text())
        for job in config["scrape_configs"]:
            for target in job["static_configs"][0]["targets"]:
                self.assertIn(target.split(":")[0], self.compose["services"])

    def test_the_scripts_that_services_run_are_in_the_image(self):
        for name, service in self.compose["services"].items():
            if service["image"] == "sipeat-orders" and service.get("command", ["run"])[0] == "run":
                script = service.get("command", ["order-service.lua"])[-1]
                self.assertTrue((SOURCE / "examples/orders" / script).is_file(), f"{name}: {script}")

    def test_the_image_copies_what_exists(self):
        text = (DEPLOY / "container/Containerfile").read_text()
        for place in re.findall(r"^COPY (\S+) ", text, re.M):
            self.assertTrue((SOURCE / place).exists(), place)
        self.assertRegex(text, r"(?m)^USER \d+$")
        script = re.search(r'(?m)^CMD \["run".*"(order[\w-]*\.lua)"\]', text)
        self.assertTrue((SOURCE / "examples/orders" / script[1]).is_file(), script[1])


class Kubernetes(unittest.TestCase):
    def test_each_manifest_follows_the_schema(self):
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
            for document in documents(path):
                with self.subTest(file=path.name, kind=document["kind"]):
                    kubernetes_validate.validate(document, KUBERNETES, strict=True)
        document = documents(DEPLOY / "kubernetes/order-service.yaml")[0]
        document["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(document, KUBERNETES, strict=True)

    def test_names_fit_together(self):
        found = {(d["kind"], d["metadata"]["name"]): d for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
                 for d in documents(path)}
        pod = found["Deployment", "order-service"]["spec"]["template"]
        container = pod["spec"]["containers"][0]
        self.assertIn(("ServiceAccount", pod["spec"]["serviceAccountName"]), found)
        for variable in container["env"]:
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                self.assertIn(reference["key"], found["Secret", reference["name"]]["stringData"])
        for kind in ("PodDisruptionBudget", "Service"):
            selector = found[kind, "order-service"]["spec"]["selector"]
            self.assertLessEqual(selector.get("matchLabels", selector).items(), pod["metadata"]["labels"].items())
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            self.assertIn(container[probe]["httpGet"]["port"], ports)
        scaler = found["HorizontalPodAutoscaler", "order-service"]["spec"]["scaleTargetRef"]
        self.assertIn((scaler["kind"], scaler["name"]), found)


if __name__ == "__main__":
    unittest.main(verbosity=2)
