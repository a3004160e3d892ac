//! How a server is set up for kine, by a written formula (docs/datastores.md). Durability is never traded for speed.

use std::cmp::{max, min};

/// Connections beside the kines': an administrator's, a backup's, a check's.
const RESERVE: u32 = 13;

/// What the store of a small cluster takes with its superseded revisions, in MiB.
const CLUSTER_MIB: u64 = 512;

/// What each node adds, in MiB: its leases every ten seconds, its Pods, their events, all of them for the five minutes between compactions.
const NODE_MIB: u64 = 16;

/// Room is made for so many nodes at a time: a worker that joins leaves the server as it is.
const NODES: u64 = 16;

/// The sizes that follow from the machine and the cluster. Sizes are in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// All connections that the server takes.
    pub max_connections: u32,
    /// The server's own cache of pages.
    pub buffers: u64,
    /// What the server may expect the system to cache, its own cache included.
    pub cache: u64,
    /// What one vacuum, or the building of one index, may take.
    pub maintenance: u64,
    /// How much of the write-ahead log is kept before a checkpoint is forced.
    pub log: u64,
}

/// What settings depend on.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The machine's memory in MiB.
    pub memory: u64,
    /// Control planes, each of which runs a kine for every store on the server.
    pub control_planes: u32,
    /// Stores on the server.
    pub stores: u32,
    /// Connections of each kine.
    pub pool: u32,
    /// Nodes of the cluster.
    pub nodes: u32,
}

impl Settings {
    /// A quarter of the memory at most, and no more than the cluster can fill.
    pub fn of(load: Load) -> Self {
        let Load { memory, control_planes, stores, pool, nodes } = load;
        let wanted = CLUSTER_MIB + NODE_MIB * u64::from(nodes).next_multiple_of(NODES);
        let buffers = max(128, min(memory / 4, wanted));
        Self {
            max_connections: control_planes.saturating_mul(stores).saturating_mul(pool).saturating_add(RESERVE),
            buffers,
            cache: max(buffers, memory / 2),
            maintenance: (memory / 16).clamp(32, 512),
            log: (buffers * 2).clamp(512, 4096),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_memory_nodes_and_pools() {
        let load = |memory, control_planes, stores, nodes| Load { memory, control_planes, stores, pool: 8, nodes };
        for (load, expected) in [
            (load(1024, 1, 1, 1), [21, 256, 512, 64, 512]),
            (load(512, 1, 1, 1), [21, 128, 256, 32, 512]),
            (load(4096, 3, 1, 5), [37, 768, 2048, 256, 1536]),
            (load(4096, 3, 1, 16), [37, 768, 2048, 256, 1536]),
            (load(65536, 3, 4, 500), [109, 8704, 32768, 512, 4096]),
        ] {
            let Settings { max_connections, buffers, cache, maintenance, log } = Settings::of(load);
            assert_eq!([u64::from(max_connections), buffers, cache, maintenance, log], expected, "{load:?}");
        }
    }
}
