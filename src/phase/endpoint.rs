//! Phase `endpoint`: the API's name resolves on the host before anything asks for it.

use super::{Context, Step};
use crate::config::Endpoint;
use crate::failure::Failure;
use crate::op::Op;

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let name = context.cluster.api_name();
    let address = match context.cluster.spec.endpoint {
        Endpoint::Direct(_) => context.control_plane.unwrap_or(context.node).address.to_string(),
    };
    let title = format!("let {name} be {address}");
    Ok(vec![Step::new("endpoint/name", title, Op::HostsEntry { name, address })])
}
