//! One more name for an image within its registry.

use std::path::Path;

use super::push::Destination;
use super::{Holder, Names, Registry};
use crate::artifact::image::Architectures;
use crate::failure::{Failure, Kind};

/// Names `source` (`[http://]HOST/NAME:TAG`) also `target`, in the same registry, with everything that it names. No blob moves: between
/// repositories the registry mounts them. Gives the new name with its digest.
pub async fn tag(source: &str, target: &str, ca: Option<&Path>) -> Result<String, Failure> {
    let (scheme, source) = match source.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), source),
    };
    let target = target.strip_prefix(&scheme).unwrap_or(target);
    let host = |name: &str| name.split_once('/').map(|(host, _)| host.to_owned());
    let (Some(from), Some(to)) = (host(source), host(target)) else {
        return Err(Failure::new(Kind::Usage, "both names need their registry: HOST[:PORT]/NAME:TAG"));
    };
    if from != to {
        let failure = Failure::new(Kind::Usage, format!("{from} and {to} are two registries"));
        return Err(failure.hint("`etcdless mirror push REGISTRY` copies into another registry"));
    }
    let holder = Holder::parse(&format!("{scheme}{from}"), true, Names::Own);
    let registry = Registry::new(Some(holder.map_err(|message| Failure::new(Kind::Usage, message))?), ca)?;
    let image = registry.image(source, &Architectures::All).await?;
    let old = registry.place(source)?.asked;
    let at = Destination::new(&registry, target).await?;
    for blob in image.blobs() {
        if !at.has(blob).await? && !at.mount(blob, Some(&old)).await {
            let reason = format!("the registry does not mount blob {} from {}", blob.digest, old.repository());
            return Err(at.failed(Kind::Step, &reason).hint("`etcdless mirror push REGISTRY` sends it again"));
        }
    }
    at.write(&image).await?;
    Ok(format!("{target}@{}", image.root.blob.digest))
}
