//! `larder check`: every step of using Redis, with its latency.

use larder::store::redis::{CheckStep, check};

use super::{out, table};
use crate::cli::SettingFlags;
use crate::client::block_on;
use crate::config::{self, value::without_password};
use crate::failure::Failure;

pub(crate) fn run(flags: SettingFlags) -> Result<(), Failure> {
    let loaded = config::load(flags.0)?;
    crate::warn(&loaded.warnings);
    let config = loaded.config;
    let (Some(redis), Some(url)) = (config.redis(), &config.redis_url) else {
        return out("REDIS_URL is not set: the cache is in memory only, and there is nothing to check.\n");
    };
    let url = without_password(&url.0);
    out(&format!("Redis at {url}\n"))?;
    let steps = block_on(async { Ok(check(redis, &config.cache_namespace.0).await) })?;
    out(&table::plain(steps.iter().map(row)))?;
    let failed = steps.iter().filter(|step| step.result.is_err()).count();
    match failed {
        0 => out("Everything that larder needs is there.\n"),
        1 => Err(Failure::new("1 step failed").hint(hint(&steps))),
        more => Err(Failure::new(format!("{more} steps failed")).hint(hint(&steps))),
    }
}

fn row(step: &CheckStep) -> Vec<String> {
    let took = format!("{:.2} ms", step.took.as_secs_f64() * 1e3);
    match &step.result {
        Ok(words) => vec!["ok".into(), step.name.clone(), took, words.clone()],
        Err(words) => vec!["FAILED".into(), step.name.clone(), took, words.clone()],
    }
}

/// What the first step that failed says; the others often follow from it.
fn hint(steps: &[CheckStep]) -> String {
    let first = steps.iter().find_map(|step| step.result.as_ref().err().map(|why| (step, why)));
    first.map(|(step, why)| format!("{}: {why}", step.name)).unwrap_or_default()
}
