//! Phase `datastore`: what the SQL database needs before kine opens it, on the control planes and on hosts of servers that etcdless keeps.

use super::{Context, Step};
use crate::config::{Datastore, Role, ServerEngine};
use crate::datastore::managed::{self, FOLDER, Server, USER};
use crate::datastore::{self, sqlite};
use crate::failure::Failure;
use crate::op::{File, Op, Script};
use crate::playbook;

/// Seconds that a server has to come up and take its databases.
const SERVER_DEADLINE: u64 = 120;

/// What this phase wants on a host.
pub fn steps(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    match context.node.role {
        Role::Datastore => server(context),
        Role::ControlPlane => Ok(control_plane(context)),
        Role::Worker => Ok(Vec::new()),
    }
}

/// A server of somebody else's wants nothing.
fn control_plane(context: &Context<'_>) -> Vec<Step> {
    let sqlite = context.cluster.datastores().any(|(_, datastore)| matches!(datastore, Datastore::Sqlite(_)));
    let folder = Op::Directory { path: sqlite::DIRECTORY.into(), mode: 0o700 };
    let folder = sqlite.then(|| Step::new("datastore/folder", "make the folder of the SQLite files", folder));
    let clients = context.servers.iter().flat_map(|kept| &kept.certificates.clients);
    let keys = clients.filter(|client| client.host == context.node.label).filter_map(|client| {
        let (id, title) =
            (format!("datastore/key-{}", client.shard), format!("make the key that opens the store {}", client.shard));
        Some(
            Step::new(id, title, Op::File(client.key.clone()?))
                .after([super::kine::folder_step(&datastore::folder(&client.shard))]),
        )
    });
    folder.into_iter().chain(keys).collect()
}

/// The server itself, from its packages to its databases.
fn server(context: &Context<'_>) -> Result<Vec<Step>, Failure> {
    let Some(kept) = context.servers.iter().find(|kept| kept.server.host == context.node.label) else {
        return Ok(Vec::new());
    };
    let engine = kept.server.engine.name();
    let (packages, running) = (format!("datastore/{engine}-packages"), format!("datastore/{engine}-server"));
    let record = Op::File(super::control_plane::record(context)?);
    let mut steps = vec![
        Step::new("datastore/record", "keep the cluster's description on the host", record),
        Step::new("datastore/folder", format!("make {FOLDER}"), Op::Directory { path: FOLDER.into(), mode: 0o755 }),
    ];
    steps.extend(certificates(&kept.certificates.server, kept.server.engine, &packages));
    let before: Vec<String> = steps.iter().map(|step| step.id.clone()).collect();
    let inputs = playbook::Inputs { server: Some(inputs(&kept.server)), ..super::node::inputs(context)? };
    for task in playbook::tasks(context.assets, &inputs, context.facts)? {
        let after = task.after.iter().map(|name| format!("datastore/{name}"));
        let step = Step::new(format!("datastore/{}", task.name), task.title, task.op).after(after);
        steps.push(if step.id == running { step.after(before.iter().cloned()) } else { step });
    }
    steps.push(databases(&kept.server).after([running]));
    Ok(steps)
}

/// Each file after the one before: a key is there before its certificate, so that a pair that was cut off is seen as such.
fn certificates(files: &[File], engine: ServerEngine, packages: &str) -> Vec<Step> {
    // The host is marked as this cluster's before anything else is placed.
    let mut before = "datastore/record".to_owned();
    let mut steps: Vec<Step> = files
        .iter()
        .map(|file| {
            let name = file.path.rsplit('/').next().unwrap_or_default().replace('.', "-");
            let id = format!("datastore/{name}");
            let after = std::mem::replace(&mut before, id.clone());
            Step::new(id, format!("write {}", file.path), Op::File(file.clone())).after([after])
        })
        .collect();
    let user = match engine {
        ServerEngine::Postgres => "postgres",
        ServerEngine::Mysql | ServerEngine::Mariadb => "mysql",
    };
    let readable = Op::Script(Script {
        text: "chgrp -- \"$(id -gn \"$2\")\" \"$1\" && chmod 0640 -- \"$1\"".into(),
        args: vec![format!("{FOLDER}/server.key"), user.into()],
        creates: vec![format!("{FOLDER}/server.key")],
        watches: vec![format!("{FOLDER}/server.crt")],
        of: String::new(),
        seconds: 60,
    });
    steps.push(
        Step::new("datastore/key-readable", "let the server read its key", readable).after([before, packages.into()]),
    );
    steps
}

/// What the server's playbook may know.
fn inputs(server: &Server) -> playbook::Server {
    let managed::Settings { max_connections, buffers, cache, maintenance, log } = server.settings;
    playbook::Server {
        engine: server.engine,
        address: server.address,
        databases: server.databases.iter().map(|database| database.name.clone()).collect(),
        user: USER.into(),
        clients: server.clients.iter().map(|client| client.address.into()).collect(),
        max_connections,
        buffers,
        cache,
        maintenance,
        log,
    }
}

/// Databases and who may use them.
fn databases(server: &Server) -> Step {
    let names: Vec<String> = server.databases.iter().map(|database| database.name.clone()).collect();
    let (text, args) = match server.engine {
        ServerEngine::Postgres => {
            let wanted = server.databases.iter().map(|database| match database.partitions.as_slice() {
                [] => database.name.clone(),
                folders => format!("{}={}", database.name, folders.join(",")),
            });
            let head = [USER.to_owned(), managed::PARTITIONS.to_owned()];
            (include_str!("scripts/databases_postgres.sh"), head.into_iter().chain(wanted).collect())
        }
        ServerEngine::Mysql | ServerEngine::Mariadb => {
            let clients = server.clients.iter().map(|client| client.address.to_string()).collect();
            let head = vec![USER.to_owned(), names.len().to_string()];
            (include_str!("scripts/databases_mysql.sh"), [head, names.clone(), clients].concat())
        }
    };
    let script = Script {
        text: text.into(),
        args,
        creates: Vec::new(),
        watches: Vec::new(),
        of: String::new(),
        seconds: SERVER_DEADLINE,
    };
    Step::new(
        "datastore/databases",
        format!("make the database {}, and the user {USER}", names.join(", ")),
        Op::Script(script),
    )
}
