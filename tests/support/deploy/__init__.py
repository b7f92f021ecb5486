"""The Kubernetes manifests."""
