//! The sample backend as the configuration asks for it.

use std::collections::BTreeMap;

use larder::Cache;
use sample_backend::config::{AiConfig, DatabaseConfig, JwtConfig, SampleData, SellerApi};
use sample_backend::db::Claim;
use sample_backend::{Backend, SampleConfig, StartError};
use url::Url;

use crate::config::Config;
use crate::config::value;
use crate::failure::Failure;

/// The model that is asked for where none is named; servers with a single model take any.
const ANY_MODEL: &str = "default";

/// Opens the database, fills it and puts the routes together.
pub(super) async fn start(config: &Config, cache: Cache) -> Result<Backend, Failure> {
    sample_backend::start(told(config)?, cache).await.map_err(|error| failure(&error))
}

/// Without Redis, no process learns what another changes: the second one on a database says so. The claim lasts until it is
/// dropped.
pub(super) async fn claim(config: &Config, backend: &Backend) -> Option<Claim> {
    if config.redis_url.is_some() || !config.cache_enabled {
        return None;
    }
    let claim = backend.db.claim(&database(config)).await;
    if matches!(claim, Claim::Shared) {
        tracing::warn!(
            setting = "REDIS_URL",
            "another process without Redis uses this database: neither learns what the other changes, so both may serve \
             old values until their TTL ends; give both the same REDIS_URL"
        );
    }
    Some(claim)
}

/// What a database that can't be used means for the person at the terminal.
pub(crate) fn failure(error: &StartError) -> Failure {
    match error {
        StartError::Open { url, hint, source } => {
            Failure::new(format!("the database {url} can't be opened: {source}")).hint(*hint)
        }
        StartError::Url { .. } | StartError::Config(_) => Failure::configuration(error.to_string()),
        StartError::Listen(_) => {
            Failure::new(error.to_string()).hint("choose another port with --seller-api-port")
        }
        _ => Failure::new(error.to_string()),
    }
}

/// The database part of the configuration.
pub(crate) fn database(config: &Config) -> DatabaseConfig {
    DatabaseConfig {
        url: config.database_url.0.clone(),
        pool_size: config.db_pool_size.0,
        max_overflow: config.db_max_overflow.0,
        pool_timeout: config.db_pool_timeout.0,
        pool_recycle: config.db_pool_recycle.0,
    }
}

fn told(config: &Config) -> Result<SampleConfig, Failure> {
    let secret = |secret: &Option<value::Secret>| secret.as_ref().map(|secret| secret.0.clone());
    let mut told = SampleConfig::new(config.database_url.0.clone());
    told.database = database(config);
    told.data = match config.sample_data {
        value::SampleData::Full => SampleData::Full,
        value::SampleData::Small => SampleData::Small,
        value::SampleData::None => SampleData::None,
    };
    told.sample_logins = config.is_development();
    told.jwt = JwtConfig {
        secret: secret(&config.jwt_secret),
        previous: secret(&config.jwt_secret_previous),
        ttl: config.jwt_ttl.0,
    };
    told.seller = match &config.upstream_api_url {
        Some(url) => SellerApi::Upstream(parsed("UPSTREAM_API_URL", url)?),
        None => SellerApi::BuiltIn {
            port: u16::try_from(config.seller_api_port.0).expect("the setting allows 65535 at most"),
            delay: config.seller_api_delay.0,
        },
    };
    told.upstream_timeout = config.upstream_timeout.0;
    told.ai = match &config.ai_base_url {
        Some(url) => Some(AiConfig {
            base_url: parsed("AI_BASE_URL", url)?,
            api_key: secret(&config.ai_api_key),
            model: config.ai_model.as_ref().map_or(ANY_MODEL, |model| &model.0).to_owned(),
        }),
        None => None,
    };
    told.ttls = config.ttl.iter().map(|(name, ttl)| (name.to_owned(), ttl)).collect::<BTreeMap<_, _>>();
    told.warm.clone_from(&config.cache_warm.0);
    Ok(told)
}

fn parsed(name: &str, url: &value::HttpUrl) -> Result<Url, Failure> {
    Url::parse(&url.0).map_err(|error| Failure::configuration(format!("{name}: {url:?} is no URL: {error}")))
}
