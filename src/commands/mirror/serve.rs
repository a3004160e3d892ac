//! `mirror serve`: bundles to hosts over HTTP, until Ctrl-C.

use std::net::SocketAddr;
use std::path::Path;

use crate::artifact::serve::{Bound, Holds, Request, Server};
use crate::cli::mirror::Serve;
use crate::commands::{Ended, session};
use crate::failure::{Failure, Kind};
use crate::ui::{self, Event, Format, Ui};

pub(super) async fn run(args: Serve) -> Result<(), Ended> {
    session::shown(args.show, |ui| async move {
        let (certificate, key) = (args.tls_cert.as_deref(), args.tls_key.as_deref());
        let server = tokio::select! {
            server = ready(&ui, &args, certificate.zip(key)) => server?,
            () = session::signal() => {
                return Err(Failure::new(Kind::Interrupted, "interrupted: nothing was served yet"));
            }
        };
        let scheme = if certificate.is_some() { "https" } else { "http" };
        tell_start(&ui, scheme, &server.addresses(), server.holds()).await;
        let total = server.run(session::signal()).await?;
        ui.settled().await;
        ui::result(&match ui.format() {
            Format::Text => format!("served {} requests, {}", total.requests, ui::bytes(total.bytes)),
            Format::Json => {
                serde_json::json!({ "event": "served", "requests": total.requests, "bytes": total.bytes }).to_string()
            }
        });
        Ok(())
    })
    .await
}

/// Takes the addresses first, since that fails at once if it does; nobody is answered before every byte was read.
async fn ready(ui: &Ui, args: &Serve, tls: Option<(&Path, &Path)>) -> Result<Server, Failure> {
    let bound = Bound::new(&args.listen, tls)?;
    let bundles = session::verified(ui, &args.bundles).await?;
    let screen = ui.clone();
    bound.serve(bundles, move |Request { client, method, path, status, bytes }| {
        screen.emit(Event::Request { client: client.to_string(), method, path, status, bytes });
    })
}

async fn tell_start(ui: &Ui, scheme: &str, addresses: &[SocketAddr], holds: Holds) {
    ui.settled().await;
    let Holds { files, images, archives } = holds;
    if ui.format() == Format::Json {
        let urls: Vec<String> = addresses.iter().map(|address| format!("{scheme}://{address}")).collect();
        let line = serde_json::json!({
            "event": "serving", "addresses": urls, "files": files, "images": images, "archives": archives,
        });
        return ui::result(&line.to_string());
    }
    let mut text = format!("serving {files} files, {images} images, {archives} archives of packages; Ctrl-C ends it\n");
    for address in addresses {
        text.push_str(&format!("on {scheme}://{address}, in cluster.yaml: {}\n", settings(scheme, address)));
        if address.ip().is_loopback() {
            text.push_str("   only this machine reaches that: --listen ADDRESS:PORT names one that hosts reach\n");
        }
    }
    ui::result(&text);
}

/// What hosts need in their description to come here.
fn settings(scheme: &str, address: &SocketAddr) -> String {
    let place = if address.ip().is_unspecified() { format!("ADDRESS:{}", address.port()) } else { address.to_string() };
    // Without a scheme, a registry speaks plain HTTP.
    let registry = if scheme == "https" { format!("https://{place}") } else { place.clone() };
    // What an IPv6 address has is YAML's own, too.
    let quote = if place.contains('[') { "\"" } else { "" };
    format!("artifacts: {{ mirror: {quote}{scheme}://{place}{quote}, registry: {quote}{registry}{quote} }}")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;
    use crate::config::Artifacts;

    #[test]
    fn settings_are_what_a_description_reads() {
        for (scheme, address, mirror, registry) in [
            ("http", "10.0.0.5:8080", "http://10.0.0.5:8080", "http://10.0.0.5:8080"),
            ("https", "10.0.0.5:443", "https://10.0.0.5:443", "https://10.0.0.5:443"),
            ("http", "[fd00::5]:8080", "http://[fd00::5]:8080", "http://[fd00::5]:8080"),
            ("http", "0.0.0.0:80", "http://ADDRESS:80", "http://ADDRESS:80"),
        ] {
            let text = settings(scheme, &address.parse().unwrap());
            let read: Artifacts = serde_yaml::from_str(text.strip_prefix("artifacts: ").unwrap()).unwrap();
            assert_eq!(read.mirror.as_deref(), Some(mirror), "{text}");
            assert_eq!(read.registry_url().as_deref(), Some(registry), "{text}");
        }
    }
}
