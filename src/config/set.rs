//! `--set path=value`: any field of cluster.yaml from the command line.

use serde_json::{Map, Value};

use super::diagnostic::{Problem, Source};
use super::path::{Path, Step};
use super::suggest::{any_of, closest};
use super::validate::{self, Rule};
use super::yaml::{self, Node};
use super::{Cluster, check, load, schema};
use crate::failure::{Failure, Kind};

/// What messages call the values.
const FLAG: &str = "--set";

/// Applies `--set path=value` items (`kubernetes.version=v1.33.1`, `hosts.0.ssh.port=2222`) and checks the result as `load` does.
///
/// Paths begin below `spec`, or with `spec.` or `metadata.`; values are YAML. Relative paths in values are relative to where the command runs.
pub fn set(cluster: &Cluster, items: &[String]) -> Result<Cluster, Failure> {
    set_with(cluster, items, &[])
}

/// The same, with rules of callers.
pub fn set_with(cluster: &Cluster, items: &[String], rules: &[Rule]) -> Result<Cluster, Failure> {
    let schema = schema::value();
    let mut document = serde_json::to_value(cluster)
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot write the cluster as JSON: {error}")))?;
    for item in items {
        apply(schema, &mut document, item)?;
    }
    let source = Source { name: FLAG, text: "" };
    let unplaced = |problems: Vec<Problem>| {
        source.failure(problems.into_iter().map(|problem| Problem { span: None, related: None, ..problem }).collect())
    };
    let cluster = load::typed("", &Node::from(&document)).map_err(unplaced)?;
    let mut violations = validate::validate(&cluster, rules);
    violations.extend(load::missing_files(&cluster));
    if violations.is_empty() {
        return Ok(cluster);
    }
    Err(unplaced(violations.into_iter().map(|violation| load::place(violation, None)).collect()))
}

fn apply(schema: &Value, document: &mut Value, item: &str) -> Result<(), Failure> {
    let usage = |message: String| Failure::new(Kind::Usage, message);
    let form = "write it as PATH=VALUE, for example `--set kubernetes.version=v1.33.1`";
    // A key in brackets may hold `=` itself.
    let equals = item.find("\"]").map_or(0, |bracket| bracket + 2);
    let Some((path, value)) = item[equals..].find('=').map(|at| (&item[..equals + at], &item[equals + at + 1..]))
    else {
        return Err(usage(format!("`{FLAG} {item}` has no `=`")).hint(form));
    };
    let path = Path::parse(path.trim()).filter(|path| !path.is_root());
    let Some(path) = path else {
        return Err(usage(format!("`{FLAG} {item}` does not begin with a path")).hint(form));
    };
    let full = match path.steps().first() {
        Some(Step::Key(key)) if key == "spec" || key == "metadata" => path.steps().to_vec(),
        _ => [Step::Key("spec".into())].into_iter().chain(path.steps().iter().cloned()).collect(),
    };
    let parsed = yaml::parse(value).map_err(|_| {
        usage(format!("the value of `{FLAG} {item}` is not YAML"))
            .hint("quote a text that holds `: `, ` #` or brackets")
    })?;
    let walk = Walk { root: schema, item };
    walk.assign(document, schema, Path::default(), &full, scalar(value, &parsed))
}

/// A value, and its own characters for fields that are texts: `--set metadata.name=007` needs no quotes.
struct Given<'a> {
    value: Value,
    written: &'a str,
}

fn scalar<'a>(written: &'a str, parsed: &Node) -> Given<'a> {
    Given { value: parsed.to_json(), written: written.trim() }
}

struct Walk<'a> {
    root: &'a Value,
    item: &'a str,
}

impl<'a> Walk<'a> {
    fn assign(
        &self,
        place: &mut Value,
        schema: &'a Value,
        at: Path,
        steps: &[Step],
        given: Given<'_>,
    ) -> Result<(), Failure> {
        let schema = check::resolve(self.root, schema);
        let Some((step, rest)) = steps.split_first() else {
            let text =
                schema["type"] == "string" || schema["type"].as_array().is_some_and(|t| t.contains(&"string".into()));
            let scalar = given.value.is_number() || given.value.is_boolean();
            *place = if text && scalar { given.written.into() } else { given.value };
            return Ok(());
        };
        if schema["type"] == "array" {
            let Step::Index(index) = step else {
                return Err(self.unknown(&at, step).hint(format!("`{at}` is a list: write `{at}[0]`")));
            };
            return self.item(place, &schema["items"], &at, *index, rest, given);
        }
        let name = match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        };
        if let Some(choices) = check::tagged(schema) {
            let names = || choices.iter().map(|(name, _)| *name);
            let Some((_, schema)) = choices.iter().find(|(choice, _)| *choice == name) else {
                return Err(self.unknown_of(&at, step, &name, names()));
            };
            // One choice only: another one goes.
            if place.get(&name).is_none() {
                *place = Map::from_iter([(name.clone(), Value::Null)]).into();
            }
            return self.assign(&mut place[&name], schema, at.key(&name), rest, given);
        }
        let fields = schema["properties"].as_object();
        let free = &schema["additionalProperties"];
        let below = fields
            .and_then(|fields| fields.get(&name))
            .or(Some(free).filter(|free| !free.is_null() && **free != false));
        let Some(below) = below.or_else(|| (schema == &Value::Bool(true)).then_some(schema)) else {
            return Err(self.unknown_of(&at, step, &name, fields.into_iter().flatten().map(|(name, _)| name.as_str())));
        };
        if let (Value::Array(_), Step::Index(index)) = (&*place, step) {
            return self.item(place, below, &at, *index, rest, given);
        }
        if !place.is_object() {
            *place = Map::new().into();
        }
        self.assign(&mut place[&name], below, at.key(&name), rest, given)
    }

    fn item(
        &self,
        place: &mut Value,
        schema: &'a Value,
        at: &Path,
        index: usize,
        rest: &[Step],
        given: Given<'_>,
    ) -> Result<(), Failure> {
        if place.is_null() {
            *place = Vec::<Value>::new().into();
        }
        let Value::Array(items) = place else {
            return Err(self.unknown(at, &Step::Index(index)));
        };
        let count = items.len();
        if index == count {
            items.push(Value::Null);
        }
        match items.get_mut(index) {
            Some(item) => self.assign(item, schema, at.index(index), rest, given),
            None => Err(self
                .unknown(at, &Step::Index(index))
                .hint(format!("`{at}` has {count} items; `{at}[{count}]` would add one"))),
        }
    }

    fn unknown(&self, at: &Path, step: &Step) -> Failure {
        let path = match step {
            Step::Key(key) => at.key(key),
            Step::Index(index) => at.index(*index),
        };
        Failure::new(Kind::Usage, format!("`{FLAG} {}`: there is no field `{path}`", self.item))
    }

    fn unknown_of<'n>(
        &self,
        at: &Path,
        step: &Step,
        name: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) -> Failure {
        let hint = match closest(name, known.clone()) {
            Some(near) => format!("did you mean `{}`?", at.key(near)),
            None if known.clone().next().is_none() => format!("`{at}` has no fields"),
            None => format!("`{at}` has the fields {}", any_of(known)),
        };
        self.unknown(at, step).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Address, Network, load::parse};

    fn minimal() -> Cluster {
        let text = "apiVersion: etcdless.dev/v1alpha1\nkind: Cluster\nmetadata: { name: demo }\nspec:\n  hosts: [{ address: h }]\n";
        parse("cluster.yaml", text).unwrap()
    }

    fn with(items: &[&str]) -> Result<Cluster, Failure> {
        set(&minimal(), &items.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn fields_of_every_kind() {
        let cluster = with(&[
            "kubernetes.version=v1.33.1",
            "metadata.name=007",
            "spec.kubernetes.swap=off",
            "hosts.0.ssh.port=2222",
            "hosts[0].user=1000",
            "hosts.0.nodeIP=10.0.0.1",
            "network.none={}",
            "kubernetes.proxyMode=ipvs",
            "kubeadm.kubelet.maxPods=200",
            "kubeadm.kubelet.evictionHard={memory.available: 5%}",
            "kubeadm.init.skipPhases=[addon/kube-proxy]",
            "kubeadm.init.skipPhases.1=addon/coredns",
            r#"kubeadm.patches["kube-apiserver+json.yaml"]=[]"#,
            "kubeadm.patches={kube-scheduler.yaml: 'a: 1'}",
        ])
        .unwrap();
        let spec = &cluster.spec;
        assert_eq!(spec.kubernetes.version.to_string(), "v1.33.1");
        assert_eq!(cluster.metadata.name.as_str(), "007");
        assert_eq!(spec.hosts[0].address, Address::Ssh("h".into()));
        assert_eq!((spec.hosts[0].ssh.port, spec.hosts[0].user.as_deref()), (Some(2222), Some("1000")));
        assert!(matches!(spec.network, Network::None(_)));
        assert_eq!(spec.kubeadm.kubelet["maxPods"], 200);
        assert_eq!(spec.kubeadm.kubelet["evictionHard"]["memory.available"], "5%");
        assert_eq!(spec.kubeadm.init["skipPhases"], serde_json::json!(["addon/kube-proxy", "addon/coredns"]));
        assert_eq!(spec.kubeadm.patches["kube-scheduler.yaml"], "a: 1");
    }

    #[test]
    fn null_takes_an_optional_field_away() {
        let cluster = with(&["kubernetes.proxyMode=ipvs", "kubernetes.proxyMode="]).unwrap();
        assert_eq!(cluster, minimal());
    }

    #[test]
    fn wrong_flags_are_usage_errors() {
        for (item, message, hint) in [
            (
                "kubernetes.verison=v1",
                "`--set kubernetes.verison=v1`: there is no field `spec.kubernetes.verison`",
                "did you mean `spec.kubernetes.version`?",
            ),
            (
                "datastore.oracle={}",
                "`--set datastore.oracle={}`: there is no field `spec.datastore.oracle`",
                "`spec.datastore` has the fields `sqlite`, `postgres`, `mysql`, `mariadb` or `other`",
            ),
            (
                "hosts.5.user=x",
                "`--set hosts.5.user=x`: there is no field `spec.hosts[5]`",
                "`spec.hosts` has 1 items; `spec.hosts[1]` would add one",
            ),
            (
                "hosts.user=x",
                "`--set hosts.user=x`: there is no field `spec.hosts.user`",
                "`spec.hosts` is a list: write `spec.hosts[0]`",
            ),
            (
                "kine.version.major=1",
                "`--set kine.version.major=1`: there is no field `spec.kine.version.major`",
                "`spec.kine.version` has no fields",
            ),
            (
                "kubernetes.version",
                "`--set kubernetes.version` has no `=`",
                "write it as PATH=VALUE, for example `--set kubernetes.version=v1.33.1`",
            ),
            (
                "=x",
                "`--set =x` does not begin with a path",
                "write it as PATH=VALUE, for example `--set kubernetes.version=v1.33.1`",
            ),
            (
                "network={",
                "the value of `--set network={` is not YAML",
                "quote a text that holds `: `, ` #` or brackets",
            ),
        ] {
            let failure = with(&[item]).unwrap_err();
            assert_eq!(
                (failure.kind, failure.message.as_str(), failure.hints[0].as_str()),
                (Kind::Usage, message, hint)
            );
        }
    }

    #[test]
    fn wrong_results_are_config_errors() {
        for (item, message) in [
            (
                "kubernetes.version=1.34",
                "--set: `spec.kubernetes.version` takes a version such as v1.34.4, found the text `1.34`",
            ),
            (
                "kubernetes.podSubnet=10.96.0.0/16",
                "--set: spec.kubernetes.podSubnet: podSubnet 10.96.0.0/16 overlaps serviceSubnet 10.96.0.0/12",
            ),
            (
                "hosts.0.ssh.port=0",
                "--set: `spec.hosts[0].ssh.port` takes a whole number from 1 to 65535, found the number `0`",
            ),
            ("network.manifest=/does/not/exist", "--set: spec.network.manifest: there is no file `/does/not/exist`"),
        ] {
            let failure = with(&[item]).unwrap_err();
            assert_eq!((failure.kind, failure.message.as_str()), (Kind::Config, message));
        }
    }
}
