"""`calotype k8s`: prepares an installation on Kubernetes."""
