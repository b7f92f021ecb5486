"""Runs the containers of rendered manifests as processes of this machine, in the place of kubelet.

Each container gets its command, variables, files and probes from the manifests alone. What differs is listed here:
addresses, since all processes share one machine (`pod_network.py`), paths of mounted files (`pod_files.py`), and
images, of which an entry point and variables are given (`images.py`). A read-only root file system is applied where the
kernel has Landlock (`read_only_root.py`). Users, capabilities, limits and network policies are not applied.
"""
