//! Writes to some resources are denied for a while, by the API servers themselves: a policy of Kubernetes' own, with nobody to ask.
//!
//! It ends by itself: once files are switched on the host that made it, in either direction, at a boot, and after a time. Nothing depends on
//! its being there: what is written nevertheless is copied like everything else.

use serde_json::{Value, json};

use super::{FOLDER, file, plan, script};
use crate::phase::plan::Plan;
use crate::remote::{Query, Question, RemoteError};

/// What the policy and its binding are called.
pub const POLICY: &str = "etcdless-split";

/// An object that nobody has; that it cannot be made shows that the policy is in effect.
const CANARY: &str = "etcdless-split";

const ALLOW: &str = include_str!("scripts/allow.sh");

/// Takes the policy away, as often as it takes.
const UNIT: &str = "# Written by etcdless, for the time of a migration.\n[Unit]\nDescription=Writes to resources that moved are allowed again\n\
    StartLimitIntervalSec=0\n\n[Service]\nType=oneshot\nExecStart=/var/lib/etcdless/migration/allow\nRestart=on-failure\nRestartSec=1\n\n\
    [Install]\nWantedBy=multi-user.target\n";
const UNIT_PATH: &str = "/etc/systemd/system/etcdless-allow.service";

/// Seconds that a policy may take to be seen by an API server.
const EFFECT: u64 = 60;

/// Seconds that the policy stays beyond the time of the freeze, where nobody takes it away.
const BEYOND: u64 = 120;

/// The policy that denies writes to resources, as `--etcd-servers-overrides` names them, and its binding.
pub fn policy(resources: &[String]) -> String {
    let rule = |resource: &String| {
        let (group, name) = resource.split_once('/').unwrap_or(("", resource));
        // Subresources are written where their resource is.
        json!({ "apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE", "DELETE"],
                "resources": [name, format!("{name}/*")] })
    };
    let canary = json!({ "apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["configmaps"],
                         "resourceNames": [CANARY] });
    let rules: Vec<Value> = resources.iter().map(rule).chain([canary]).collect();
    let message = format!("etcdless moves {} to another store: try again in a minute", resources.join(", "));
    let api = "admissionregistration.k8s.io/v1";
    let objects = [
        json!({ "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": POLICY }, "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": { "resourceRules": rules },
            // A service account's token is written nowhere.
            "validations": [{ "expression": "has(request.subResource) && request.subResource == 'token'", "message": message, "reason": "Forbidden" }] } }),
        json!({ "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": POLICY }, "spec": {
            "policyName": POLICY, "validationActions": ["Deny"] } }),
    ];
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    format!("{list:#}\n")
}

/// Makes the policy, and whatever takes it away where nobody else does. `freeze` is how long API servers may be away.
pub fn deny(host: &str, resources: &[String], freeze: u64, run: &str) -> Plan {
    let args = vec![FOLDER.to_owned(), (freeze + BEYOND).to_string()];
    let title = format!("deny writes to {}", resources.join(", "));
    plan(
        host,
        vec![
            ("policy", "place the policy that denies writes".into(), file(policy_path(), 0o600, &policy(resources))),
            ("allow", "place what takes it away".into(), file(format!("{FOLDER}/allow"), 0o700, ALLOW)),
            ("allow-unit", "place what does so by itself".into(), file(UNIT_PATH.into(), 0o644, UNIT)),
            ("denied", title, script(include_str!("scripts/deny.sh"), args, 60, run)),
        ],
    )
}

fn policy_path() -> String {
    format!("{FOLDER}/policy.json")
}

/// Waits until the API server of a host, at an address, denies.
pub fn wait(host: &str, address: &str, run: &str) -> Plan {
    let args = vec![address.to_owned(), EFFECT.to_string(), CANARY.to_owned(), POLICY.to_owned()];
    let title = "wait until the API server denies them".to_owned();
    plan(host, vec![("denies", title, script(include_str!("scripts/denies.sh"), args, EFFECT + 30, run))])
}

/// Writes are allowed again.
pub fn allow(host: &str, run: &str) -> Plan {
    plan(host, vec![("allowed", "allow writes again".into(), script(ALLOW, Vec::new(), 120, run))])
}

/// Whether the policy may be there still.
pub async fn is_left(host: &impl Query) -> Result<bool, RemoteError> {
    let deadline = std::time::Duration::from_secs(20);
    let question = Question { script: "[ -e \"$1\" ]", args: vec![UNIT_PATH.into()], input: Vec::new(), deadline };
    Ok(host.ask(question).await?.status == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_resources_and_what_to_do() {
        insta::assert_snapshot!(policy(&["configmaps".into(), "apps/deployments".into()]));
    }
}
