"""The alert rules as a PrometheusRule, for the Prometheus Operator.

`python -m tests.support.pages.prometheus_rule` writes `deploy/k8s/components/prometheus-operator/rules.yaml` anew.
"""

from pathlib import Path

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "dashboards" / "rules" / "calotype.yaml"
MANIFEST = ROOT / "deploy" / "k8s" / "components" / "prometheus-operator" / "rules.yaml"
_HEAD = """\
# Made of deploy/dashboards/rules/calotype.yaml: python -m tests.support.pages.prometheus_rule writes it.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: calotype, labels: {app.kubernetes.io/name: monitoring}}
spec:
"""


def prometheus_rule() -> str:
    """The manifest, with the rules as its `spec`."""
    lines = RULES.read_text(encoding="utf-8").splitlines()
    body = [f"  {line}" if line else "" for line in lines if not line.startswith("#")]
    return _HEAD + "\n".join(body) + "\n"


if __name__ == "__main__":
    MANIFEST.write_text(prometheus_rule(), encoding="utf-8")
