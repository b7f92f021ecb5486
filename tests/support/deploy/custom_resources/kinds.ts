export type { IScaledObject as ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
export type { IPodMonitor as PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
export type { IPrometheusRule as PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
export type { IGateway as Gateway } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/Gateway";
export type { IHTTPRoute as HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";
