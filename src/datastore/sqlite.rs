//! SQLite: a file on the one control plane, opened by kine itself.

/// The folder of all SQLite stores. Never /var/lib/etcd, which `kubeadm reset` empties.
pub const DIRECTORY: &str = "/var/lib/etcdless/kine";

/// A shard's file.
pub fn file(shard: &str) -> String {
    format!("{DIRECTORY}/{shard}.db")
}

/// kine's endpoint for a shard's file. Naming a path drops all of kine's own parameters, so the full set is repeated
/// (kine v0.16.4, pkg/drivers/sqlite).
pub fn endpoint(shard: &str) -> String {
    format!(
        "sqlite://{}?_journal_mode=WAL&_busy_timeout=30000&_synchronous=NORMAL&_txlock=immediate&_stmt_cache_size=20&cache=shared",
        file(shard)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_repeats_every_parameter_that_kine_would_set() {
        let endpoint = endpoint("main");
        let parameters = [
            "_journal_mode=WAL",
            "_busy_timeout=30000",
            "_synchronous=NORMAL",
            "_txlock=immediate",
            "_stmt_cache_size=20",
            "cache=shared",
        ];
        assert!(endpoint.starts_with("sqlite:///var/lib/etcdless/kine/main.db?"));
        assert!(parameters.iter().all(|parameter| endpoint.contains(parameter)), "{endpoint}");
    }
}
