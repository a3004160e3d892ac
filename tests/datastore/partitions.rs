//! kine's table in partitions: what kine rests on still holds there, and kine itself takes the table as it is.

use std::io::Write;
use std::process::{Command, Stdio};

use etcdless::datastore::managed::PARTITIONS;

use crate::postgres_server::Server;
use crate::servers::program;

/// Makes the table as the phase does.
fn partitioned() -> Option<Server> {
    let server = Server::start()?;
    make(&server);
    Some(server)
}

fn make(server: &Server) {
    let mut psql = Command::new(program("psql").unwrap());
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-v", "user=kine", "-v", "partitions=events,leases"]);
    psql.args(["-U", "postgres", "-d", "kine", "-h"]).arg(server.path("")).args(["-p", &server.port.to_string()]);
    let mut psql = psql.stdin(Stdio::piped()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(PARTITIONS.as_bytes()).unwrap();
    assert!(psql.wait().unwrap().success());
}

fn count(server: &Server, of: &str) -> String {
    server.sql("kine", &format!("SELECT count(*) FROM {of}")).trim().to_owned()
}

#[test]
fn keys_are_in_their_partitions_and_a_revision_is_taken_once() {
    let Some(server) = partitioned() else { return };
    // Once it is there, it is left alone.
    make(&server);
    let insert =
        |id: &str, name: &str| format!("INSERT INTO kine (id, name, prev_revision) VALUES ({id}, '{name}', 0)");
    server.sql("kine", &insert("1", "/registry/events/default/a"));
    server.sql("kine", &insert("2", "/registry/leases/kube-node-lease/a"));
    server.sql("kine", &insert("3", "/registry/eventsx/a"));
    assert_eq!(
        ["kine_part_events", "kine_part_leases", "kine_others", "kine_ids"].map(|table| count(&server, table)),
        ["1", "1", "1", "3"]
    );
    // As kine fills a gap, and a late writer comes with the same revision.
    server.sql("kine", &insert("5", "gap-5"));
    let refused = server.sql(
        "kine",
        &format!(
            "DO $$ DECLARE which text; BEGIN {}; RAISE 'taken twice'; EXCEPTION WHEN unique_violation THEN
             GET STACKED DIAGNOSTICS which = CONSTRAINT_NAME; IF which <> 'kine_pkey' THEN RAISE '%', which; END IF; END $$",
            insert("5", "/registry/pods/default/late")
        ),
    );
    assert_eq!(refused, "");
    // Compaction frees them.
    server.sql("kine", "DELETE FROM kine WHERE id < 5");
    assert_eq!([count(&server, "kine"), count(&server, "kine_ids")], ["1", "1"]);
}
