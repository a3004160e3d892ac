//! `kubeconfig`: the admin kubeconfig from the first control plane into the user's own hands.

use std::time::Duration;

use super::Ended;
use super::session;
use crate::cli::Kubeconfig;
use crate::cluster::node::Node;
use crate::config::ApiAddress;
use crate::failure::{Failure, Kind};
use crate::kubeconfig as document;
use crate::phase::runner;
use crate::remote::{Query, Question};
use crate::ui;

pub(super) async fn run(args: Kubeconfig) -> Result<(), Ended> {
    let described = session::describe(&args.target, None)?;
    let args = &args;
    session::under_ui(args.show, |ui, _| async move {
        let found = session::find(&ui, &args.target, described).await?;
        let node = Node::new(&found.cluster, &found.config, &found.facts)
            .ok_or_else(|| Failure::new(Kind::Unhealthy, format!("{} has no usable address", found.config.label())))?;
        let api = found.cluster.api_outside(node.address);
        let name = found.cluster.metadata.name.as_str();
        let context = args.context.as_deref();
        if args.print || args.write.is_some() {
            let admin = admin_conf(&found.host).await?;
            let own = document::merge(None, &admin, context.unwrap_or(name), &server(&api), false)?;
            match &args.write {
                None => ui::result(&own.text),
                Some(path) => document::write(path, &own.text)?,
            }
            return Ok(());
        }
        let context = merge(&found.host, name, context, &api).await?;
        ui::result(&format!("context {context} is in {}", document::path()?.display()));
        Ok(())
    })
    .await
}

/// Merges the admin kubeconfig into the user's own; returns the context's name.
pub(super) async fn merge(
    host: &impl Query,
    cluster: &str,
    context: Option<&str>,
    api: &ApiAddress,
) -> Result<String, Failure> {
    let admin = admin_conf(host).await?;
    let path = document::path()?;
    let existing = document::load(&path)?;
    let merged = document::merge(existing.as_deref(), &admin, context.unwrap_or(cluster), &server(api), false)?;
    if merged.changed {
        document::write(&path, &merged.text)?;
    }
    Ok(merged.context)
}

/// Refuses to build a cluster whose name the user's kubeconfig has for another one.
pub(super) fn check_free(cluster: &str, api: &ApiAddress) -> Result<(), Failure> {
    let path = document::path()?;
    let Some(existing) = document::load(&path)? else { return Ok(()) };
    document::check_free(&existing, cluster, &server(api)).map_err(|mut failure| {
        failure.hints = vec![
            "choose another name with --name NAME".into(),
            format!("or leave {} as it is with --no-kubeconfig", path.display()),
        ];
        failure.detail("nothing was changed")
    })
}

fn server(api: &ApiAddress) -> String {
    format!("https://{api}")
}

/// kubeadm's own kubeconfig of the administrator.
pub(super) async fn admin_conf(host: &impl Query) -> Result<String, Failure> {
    let question = Question {
        script: "cat /etc/kubernetes/admin.conf",
        args: Vec::new(),
        input: Vec::new(),
        deadline: Duration::from_secs(20),
    };
    let answer = host.ask(question).await.map_err(|error| Failure::new(runner::kind(&error), error.to_string()))?;
    match answer.status {
        0 => Ok(String::from_utf8_lossy(&answer.stdout).into_owned()),
        _ => Err(Failure::new(Kind::Unhealthy, "the host has no /etc/kubernetes/admin.conf")
            .detail(String::from_utf8_lossy(&answer.stderr).trim().to_owned())
            .hint("build the cluster first: etcdless init")),
    }
}
