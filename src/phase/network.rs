//! Phase `network`: the Pod network's manifest, applied as soon as the API server answers.

use super::artifacts::image_step;
use super::{Context, Step};
use crate::cluster::network::{self, MANIFEST};
use crate::failure::Failure;
use crate::op::{File, Op, Script};

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    if !context.is_first() {
        return Ok(Vec::new());
    }
    let Some(manifest) = network::manifest(context.cluster, context.manifest, context.assets)? else {
        return Ok(Vec::new());
    };
    let manifest = File::new(MANIFEST, 0o644, manifest);
    let apply = Op::Script(Script {
        text: include_str!("scripts/apply.sh").into(),
        args: vec![MANIFEST.into()],
        creates: Vec::new(),
        watches: vec![MANIFEST.into()],
        of: manifest.sha256(),
        seconds: 120,
    });
    Ok(vec![
        Step::new("network/manifest", "write the Pod network's manifest", Op::File(manifest)),
        Step::new("network/applied", "install the Pod network", apply)
            .after(["network/manifest", "control-plane/api-server", "control-plane/endpoint"])
            .after(["flannel", "flannel-cni-plugin"].map(image_step))
            .after_servers(context),
    ])
}
