//! Phase `artifacts`: every file into the staging folder, verified; every image into containerd once that runs.

use super::{Context, Step};
use crate::artifact::catalogue::{catalogue, images_of};
use crate::artifact::source::mirrored;
use crate::artifact::{Item, Resolved};
use crate::failure::Failure;
use crate::op::{Fetch, Image, Op};

/// Where files wait until a later step moves or unpacks them.
pub const STAGE: &str = "/var/lib/etcdless/artifacts";

/// So many images of the catalogue's list come before the others: kine, pause and the API server.
const FIRST: usize = 3;

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let catalogue = catalogue(context.cluster, context.node.arch, context.node.role);
    let own = context.manifest.map(images_of).unwrap_or_default();
    let own = own.iter().filter(|reference| !catalogue.images.contains(reference));
    let files = catalogue.files.iter().map(|item| file(context, item));
    let images = catalogue.images.iter().enumerate().map(|(place, reference)| {
        let before: &[&str] = match place {
            0..FIRST => &[],
            // Unpacking takes all processors: what is needed later must not slow down what everything waits for.
            _ => &["artifacts/image/kine", "artifacts/image/pause", "artifacts/image/kube-apiserver"],
        };
        image(context, image_step(reference), reference).after(before.iter().copied())
    });
    // The user's own Pod network: without its images no node becomes ready, and a host without internet cannot pull them by itself.
    let own = own.map(|reference| image(context, format!("artifacts/image/{reference}"), reference));
    Ok(files.chain(images).chain(own).collect())
}

fn file(context: &Context<'_>, item: &Item) -> Step {
    // Sources are asked only for what is missing, so what a host has already is unresolved here, and its decision needs no digest.
    let unknown = Resolved { sha256: String::new(), size: 0 };
    let resolved = context.sources.files.get(&item.name).unwrap_or(&unknown);
    let fetch = Fetch {
        name: item.name.clone(),
        version: item.version.clone(),
        url: mirrored(&context.cluster.spec.artifacts, &item.url),
        sha256: resolved.sha256.clone(),
        size: resolved.size,
        staged: format!("{STAGE}/{}", item.name),
        yields: Vec::new(),
        push: context.sources.push,
        environment: Vec::new(),
    };
    Step::new(format!("artifacts/{}", item.name), format!("fetch {} {}", item.name, item.version), Op::Fetch(fetch))
}

fn image(context: &Context<'_>, id: String, reference: &str) -> Step {
    let op = Op::Image(Image { reference: reference.into(), push: context.sources.push, environment: Vec::new() });
    Step::new(id, format!("pull {reference}"), op).after([
        "node/containerd",
        "node/registry-kubernetes",
        "node/registry-docker",
        "node/registry-github",
        "node/registry-repository",
    ])
}

/// The ID of the step that pulls an image: `artifacts/image/kube-apiserver`.
pub fn image_step(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    format!("artifacts/image/{}", name.split(':').next().unwrap_or(name))
}
