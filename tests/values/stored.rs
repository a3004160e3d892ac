//! Everything that an API server has in its store is shown as it answers itself, field by field; and that is an object of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use etcdless::datastore::value::{Value, decode};
use reqwest::Method;
use serde::Deserialize as _;
use serde_json::json;

use crate::differences::differences;
use crate::golden;
use crate::server::Server;

/// Kinds that an object can be created of, of which none is compared, each with the reason.
const NOT_COVERED: &[(&str, &str)] = &[
    (
        "apiextensions.k8s.io CustomResourceDefinition",
        "stored as v1beta1, which nobody is answered with any more; it is JSON",
    ),
    ("events.k8s.io Event", "stored as v1 Event, which is covered"),
];

/// Keys, by their beginnings, that hold no object of the API's, each with what they hold.
const NO_OBJECTS: &[(&str, &str)] = &[
    ("/registry/apiextensions.k8s.io/customresourcedefinitions/", "see above"),
    ("/registry/health", "kine's own"),
    ("/registry/masterleases/", "which API servers there are: an Endpoints without a name"),
    ("/registry/peerserverleases/", "the same"),
    ("/registry/ranges/", "ports that Services have: a RangeAllocation, which is no resource"),
    ("compact_rev_key", "kine's own"),
];

/// What the API server adds to its answer and nobody stored, by kind and place.
const ADDED: &[&str] = &[
    // A Job without labels is given those of its template.
    "Job .metadata.labels",
    // A claim's kind is not in protobuf.
    "StatefulSet .spec.volumeClaimTemplates[0].apiVersion",
    "StatefulSet .spec.volumeClaimTemplates[0].kind",
];

/// A resource of the API by the kind of its objects.
struct Resource {
    /// `/apis/GROUP/VERSION` or `/api/v1`.
    root: String,
    name: String,
    namespaced: bool,
}

impl Resource {
    fn path(&self, object: &serde_json::Value) -> String {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or("values");
        let within = if self.namespaced { format!("/namespaces/{namespace}") } else { String::new() };
        format!("{}{within}/{}", self.root, self.name)
    }
}

/// By apiVersion and kind.
type Resources = BTreeMap<(String, String), Resource>;

fn kind(object: &serde_json::Value) -> (String, String) {
    let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    (text("apiVersion"), text("kind"))
}

/// All resources whose objects can be created and read.
async fn resources(server: &Server) -> Resources {
    let mut roots = vec!["/api/v1".to_owned()];
    for group in server.get("/apis").await.unwrap()["groups"].as_array().unwrap() {
        let versions = group["versions"].as_array().unwrap().iter();
        roots.extend(versions.map(|version| format!("/apis/{}", version["groupVersion"].as_str().unwrap())));
    }
    let mut resources = Resources::new();
    for root in roots {
        // What an APIService of the test stands for answers nothing.
        let Ok(list) = server.get(&root).await else { continue };
        for resource in list["resources"].as_array().unwrap() {
            let verbs = resource["verbs"].as_array().unwrap();
            let name = resource["name"].as_str().unwrap();
            if name.contains('/') || !["create", "get"].iter().all(|verb| verbs.contains(&json!(verb))) {
                continue;
            }
            let version = list["groupVersion"].as_str().unwrap().to_owned();
            resources.insert(
                (version, resource["kind"].as_str().unwrap().to_owned()),
                Resource {
                    root: root.clone(),
                    name: name.to_owned(),
                    namespaced: resource["namespaced"].as_bool().unwrap(),
                },
            );
        }
    }
    resources
}

/// Creates every object of `objects.yaml`, with its status. What was refused, and why.
async fn create(server: &Server) -> Vec<String> {
    let (mut resources, mut refused) = (resources(server).await, Vec::new());
    for object in serde_yaml::Deserializer::from_str(include_str!("objects.yaml")) {
        let object = serde_json::Value::deserialize(object).unwrap();
        // That of a CustomResourceDefinition comes up a moment later.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !resources.contains_key(&kind(&object)) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(200)).await;
            resources = self::resources(server).await;
        }
        let Some(resource) = resources.get(&kind(&object)) else {
            refused.push(format!("there is no resource for {:?}", kind(&object)));
            continue;
        };
        let path = resource.path(&object);
        let written = server.write(Method::POST, &path, &object).await;
        let written = match (written, object.get("status")) {
            (Ok(mut written), Some(status)) => {
                written["status"] = status.clone();
                let path = format!("{path}/{}/status", object["metadata"]["name"].as_str().unwrap());
                server.write(Method::PUT, &path, &written).await
            }
            (written, _) => written,
        };
        refused.extend(written.err());
    }
    refused
}

#[tokio::test]
async fn everything_in_the_store_is_what_the_api_server_answers() {
    let Some(server) = Server::start().await else { return };
    assert_eq!(create(&server).await, [""; 0]);
    let resources = resources(&server).await;

    // Objects change meanwhile: an answer names its revision, and is compared with that.
    let (mut answers, mut no_objects) = (Vec::new(), BTreeSet::new());
    let keys: BTreeMap<String, Vec<u8>> = server.rows().into_iter().map(|row| (row.key, row.value)).collect();
    for (key, value) in &keys {
        if let Some((beginning, _)) = NO_OBJECTS.iter().find(|(beginning, _)| key.starts_with(beginning)) {
            no_objects.insert(*beginning);
            continue;
        }
        let Value::Object(object) = decode(value) else { panic!("{key}: {:?}", decode(value)) };
        let resource = resources.get(&kind(&object)).unwrap_or_else(|| panic!("{key}: no resource: {object}"));
        let path = format!("{}/{}", resource.path(&object), object["metadata"]["name"].as_str().unwrap());
        answers.push((key, server.get(&path).await.unwrap()));
    }
    assert!(NO_OBJECTS.iter().all(|(beginning, _)| no_objects.contains(beginning)), "only {no_objects:?}");

    let rows: BTreeMap<u64, Vec<u8>> = server.rows().into_iter().map(|row| (row.revision, row.value)).collect();
    let (mut covered, mut differ, mut texts) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for (key, answer) in &answers {
        let revision = answer["metadata"]["resourceVersion"].as_str().unwrap();
        let value = &rows[&revision.parse::<u64>().unwrap()];
        let Value::Object(mut object) = decode(value) else { panic!("{key}: {:?}", decode(value)) };
        object["metadata"]["resourceVersion"] = revision.into();
        differences(answer["kind"].as_str().unwrap().to_owned() + " ", &object, answer, &mut |place, text| {
            differ.insert(place.clone());
            texts.push(format!("{key}: {place}: {text}"));
        });
        golden::keep(value, answer);
        covered.insert(without_version(&kind(&object)));
    }
    let all: BTreeSet<String> = resources.keys().map(without_version).collect();
    eprintln!(
        "{} stored objects of {} kinds compared, of {} kinds that there are",
        answers.len(),
        covered.len(),
        all.len()
    );
    for (kind, reason) in NOT_COVERED {
        eprintln!("not compared: {kind}: {reason}");
    }
    assert_eq!(differ, ADDED.iter().map(ToString::to_string).collect(), "{}", texts.join("\n"));
    let not_covered: BTreeSet<&str> = all.difference(&covered).map(String::as_str).collect();
    assert_eq!(not_covered, NOT_COVERED.iter().map(|(kind, _)| *kind).collect());
}

/// Each kind is stored in one version, whichever others there are.
fn without_version((version, kind): &(String, String)) -> String {
    let group = version.split_once('/').map_or("", |(group, _)| group);
    format!("{group} {kind}").trim_start().to_owned()
}
