//! What a cluster's configuration has beyond kubeadm's own defaults, as overlays over what etcdless renders.

use serde_json::{Map, Value, json};

use crate::cluster::kine;

/// What KubeletConfiguration has of kubeadm, by the way there; what other fields of the description say is among it.
const KUBELET: &[(&str, Option<&str>)] = &[
    ("apiVersion", None),
    ("kind", None),
    ("authentication/anonymous/enabled", Some("false")),
    ("authentication/webhook/enabled", Some("true")),
    ("authentication/x509/clientCAFile", Some("\"/etc/kubernetes/pki/ca.crt\"")),
    ("authorization/mode", Some("\"Webhook\"")),
    ("cgroupDriver", Some("\"systemd\"")),
    ("clusterDNS", None),
    ("clusterDomain", None),
    ("containerRuntimeEndpoint", None),
    ("failSwapOn", None),
    // The host decides.
    ("failCgroupV1", None),
    ("resolvConf", None),
    ("healthzBindAddress", Some("\"127.0.0.1\"")),
    ("healthzPort", Some("10248")),
    ("logging/flushFrequency", Some("0")),
    ("logging/verbosity", Some("0")),
    ("logging/options/json/infoBufferSize", Some("\"0\"")),
    ("logging/options/text/infoBufferSize", Some("\"0\"")),
    ("rotateCertificates", Some("true")),
    ("staticPodPath", Some("\"/etc/kubernetes/manifests\"")),
];

/// The same of KubeProxyConfiguration.
const PROXY: &[(&str, Option<&str>)] = &[
    ("apiVersion", None),
    ("kind", None),
    ("bindAddress", Some("\"0.0.0.0\"")),
    ("clientConnection/kubeconfig", Some("\"/var/lib/kube-proxy/kubeconfig.conf\"")),
    ("clusterCIDR", None),
    ("logging/options/json/infoBufferSize", Some("\"0\"")),
    ("logging/options/text/infoBufferSize", Some("\"0\"")),
    ("mode", None),
];

/// What ClusterConfiguration has that other fields of the description say, or kubeadm by itself.
const CLUSTER: &[(&str, Option<&str>)] = &[
    ("apiVersion", None),
    ("kind", None),
    ("clusterName", None),
    ("controlPlaneEndpoint", None),
    ("etcd", None),
    ("imageRepository", None),
    ("kubernetesVersion", None),
    ("networking", None),
    ("certificatesDir", Some("\"/etc/kubernetes/pki\"")),
    ("caCertificateValidityPeriod", Some("\"87600h0m0s\"")),
    ("certificateValidityPeriod", Some("\"8760h0m0s\"")),
    ("encryptionAlgorithm", Some("\"RSA-2048\"")),
    ("apiServer/timeoutForControlPlane", None),
];

/// The overlay for KubeletConfiguration.
pub(super) fn kubelet(document: &Value) -> Value {
    beyond(document, KUBELET, false)
}

/// The overlay for KubeProxyConfiguration, in which a zero is as good as nothing.
pub(super) fn proxy(document: &Value) -> Value {
    beyond(document, PROXY, true)
}

/// The overlay for ClusterConfiguration, for documents of `api`.
pub(super) fn cluster(document: &Value, api: &str) -> Value {
    let mut overlay = beyond(document, CLUSTER, false);
    for component in ["apiServer", "controllerManager", "scheduler"] {
        if let Some(arguments) = overlay.pointer_mut(&format!("/{component}/extraArgs")) {
            *arguments = arguments_of(arguments, api);
        }
    }
    // Where a list is in an overlay, it is all that there is of it.
    if let Some(Value::Array(volumes)) = overlay.pointer_mut("/apiServer/extraVolumes") {
        let sockets = kine::SOCKETS;
        volumes.push(json!({
            "name": "etcdless-kine", "hostPath": sockets, "mountPath": sockets, "pathType": "DirectoryOrCreate"
        }));
    }
    overlay
}

/// `extraArgs` are a mapping in v1beta3, and a list since.
fn arguments_of(arguments: &Value, api: &str) -> Value {
    match arguments {
        Value::Object(map) if api != "v1beta3" => {
            map.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
        }
        Value::Array(list) if api == "v1beta3" => {
            let pair = |argument: &Value| Some((argument["name"].as_str()?.to_owned(), argument["value"].clone()));
            Value::Object(list.iter().filter_map(pair).collect())
        }
        _ => arguments.clone(),
    }
}

/// What is left of a document without defaults and without what says nothing: Go writes every field of a struct.
fn beyond(document: &Value, defaults: &[(&str, Option<&str>)], without_zeros: bool) -> Value {
    let mut document = document.clone();
    for (path, value) in defaults {
        let (parent, field) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = if parent.is_empty() { String::new() } else { format!("/{parent}") };
        let default: Option<Value> = value.and_then(|value| serde_json::from_str(value).ok());
        let is_default = |found: &Value| value.is_none() || default.as_ref() == Some(found);
        if let Some(Value::Object(parent)) = document.pointer_mut(&parent)
            && parent.get(field).is_some_and(is_default)
        {
            parent.remove(field);
        }
    }
    telling(document, without_zeros).unwrap_or(Value::Object(Map::new()))
}

fn telling(value: Value, without_zeros: bool) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Bool(false) if without_zeros => None,
        Value::Number(number) if without_zeros && number.as_f64() == Some(0.0) => None,
        Value::String(text) if text.is_empty() || text == "0s" => None,
        Value::Array(list) if list.is_empty() => None,
        Value::Object(map) => {
            let map = map.into_iter().filter_map(|(key, value)| Some((key, telling(value, without_zeros)?)));
            let map: Map<String, Value> = map.collect();
            (!map.is_empty()).then_some(Value::Object(map))
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_the_form_of_the_version() {
        let (list, map) = (json!([{"name": "v", "value": "2"}]), json!({"v": "2"}));
        for (arguments, api, expected) in
            [(&list, "v1beta4", &list), (&list, "v1beta3", &map), (&map, "v1beta4", &list), (&map, "v1beta3", &map)]
        {
            assert_eq!(&arguments_of(arguments, api), expected);
        }
    }

    #[test]
    fn the_mount_of_the_sockets_is_not_lost() {
        let volume = json!({"name": "logs", "hostPath": "/var/log", "mountPath": "/var/log"});
        let overlay = cluster(&json!({"apiServer": {"extraVolumes": [volume]}}), "v1beta4");
        let names: Vec<_> =
            overlay["apiServer"]["extraVolumes"].as_array().into_iter().flatten().map(|one| &one["name"]).collect();
        assert_eq!(names, ["logs", "etcdless-kine"]);
        assert_eq!(cluster(&json!({"apiServer": {}}), "v1beta4"), json!({}));
    }
}
