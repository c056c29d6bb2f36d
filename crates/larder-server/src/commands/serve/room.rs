//! Whether PostgreSQL has room for the pools of all servers. Pools that may open more connections than it allows end in errors
//! under load, and not before.

use larder::Cache;
use sample_backend::Backend;
use tokio::task::JoinSet;

/// What all servers may open, and what there is.
struct Room {
    /// What one server may open.
    most: i64,
    allowed: i64,
    /// How many servers there were when it was last looked.
    before: i64,
    /// For how many it was said already that there is no room.
    told: i64,
}

impl Room {
    fn new(most: u32, allowed: i64) -> Self {
        Self { most: i64::from(most), allowed, before: 1, told: 0 }
    }

    /// Whether it has to be said that there is no room for so many. One that died is known for a while beside the one that
    /// took its place, so servers count when they are seen twice.
    fn is_news(&mut self, servers: i64) -> bool {
        let staying = servers.min(self.before);
        self.before = servers;
        let news = staying > self.told && staying * self.most > self.allowed;
        if news {
            self.told = staying;
        }
        news
    }

    fn check(&mut self, servers: i64) {
        if !self.is_news(servers) {
            return;
        }
        let (servers, allowed) = (self.told, self.allowed);
        tracing::warn!(
            settings = "DB_POOL_SIZE, DB_MAX_OVERFLOW",
            servers,
            most = servers * self.most,
            allowed,
            "the pools of all servers may open more connections than PostgreSQL allows (max_connections): under load the \
             rest fails; lower the pools or raise max_connections"
        );
    }
}

/// Says so now if this server alone may open too many, and, until the set is dropped, when others come.
pub(super) async fn watch(backend: &Backend, cache: &Cache, tasks: &mut JoinSet<()>) {
    let allowed = match backend.db.server_connections().await {
        Ok(Some(allowed)) => allowed,
        Ok(None) => return,
        Err(error) => {
            tracing::debug!(%error, "how many connections the database allows can't be found out");
            return;
        }
    };
    let mut room = Room::new(backend.db.pool_use().max, allowed);
    room.check(1);
    let cache = cache.clone();
    tasks.spawn(async move {
        let lease = cache.lease();
        loop {
            // Every other heartbeat tells who is there.
            tokio::time::sleep(lease).await;
            let there = cache.nodes().into_iter().filter(|node| node.seen <= lease).count();
            room.check(i64::try_from(there).unwrap_or(i64::MAX));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::Room;

    #[test]
    fn it_is_said_once_for_each_server_for_which_there_is_no_room() {
        let mut room = Room::new(60, 97);
        let news = [1, 2, 2, 2, 1, 2, 3, 3, 3].map(|servers| room.is_news(servers));
        assert_eq!(news, [false, false, true, false, false, false, false, true, false]);
        assert!(Room::new(98, 97).is_news(1), "of itself it is sure");
        assert!(!Room::new(97, 97).is_news(1));
    }

    #[test]
    fn who_takes_the_place_of_one_that_died_is_no_other() {
        let mut room = Room::new(60, 97);
        assert!([1, 2, 1, 1].iter().all(|servers| !room.is_news(*servers)));
    }
}
