//! Starting and stopping the backend.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use larder::Cache;
use larder_http::problem::ProblemBody;
use larder_outbox::Outbox;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::app::{App, Parts};
use crate::auth::{Passwords, Throttle, Tokens, kept_secret};
use crate::config::{JwtConfig, SampleConfig, SellerApi};
use crate::db::{Db, StartError};
use crate::seller::{self, Upstream};
use crate::ttl::Policies;
use crate::{
    ai, auth, campaigns, catalog, conversations, dashboard, jobs, leads, messages, notifications, posts,
};
use crate::{seed, threats, upstream, users, warm};

/// A backend that is ready to serve.
pub struct Backend {
    /// All routes, with their state.
    pub router: Router,
    /// What they are.
    pub openapi: OpenApi,
    /// Tells who sent a request.
    pub tokens: Arc<Tokens>,
    /// The database.
    pub db: Db,
    /// What has changed, until everybody knows.
    pub outbox: Outbox,
    /// Where the built-in seller-data API listens, if it runs.
    pub seller_address: Option<SocketAddr>,
    writes: TaskTracker,
    stop: CancellationToken,
    seller: Option<tokio::task::JoinHandle<()>>,
    warming: Option<tokio::task::JoinHandle<()>>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("seller_address", &self.seller_address).finish_non_exhaustive()
    }
}

impl Backend {
    /// Finishes writes that were begun, stops the seller-data API and closes the database. To be called when no
    /// request is in flight any more, and before the cache is shut down.
    ///
    /// # Cancel safety
    /// Cancelled, writes go on, but nobody waits for them.
    pub async fn shutdown(self) {
        self.writes.close();
        self.writes.wait().await;
        self.stop.cancel();
        for task in [self.warming, self.seller].into_iter().flatten() {
            drop(task.await);
        }
        self.outbox.shutdown().await;
        self.db.close().await;
    }
}

/// Opens and fills the database and puts the routes together.
///
/// # Errors
/// [`StartError`] where the database can't be opened or filled, the configuration contradicts itself, or no loopback
/// port can be had.
///
/// # Cancel safety
/// Cancelled, the database is as it was, or migrated and filled.
pub async fn start(config: SampleConfig, cache: Cache) -> Result<Backend, StartError> {
    let policies = Policies::new(&config.ttls).map_err(StartError::Config)?;
    let warm = warm::endpoints(&config.warm).map_err(StartError::Config)?;
    let client = upstream::client().map_err(|e| StartError::Config(format!("no HTTP client: {e}")))?;
    let db = Db::open(&config.database).await?;
    seed::seed(&db, config.data, config.sample_logins).await?;
    let tokens = Arc::new(tokens(&db, &config.jwt).await?);

    leads::check_room();
    let stop = CancellationToken::new();
    let (base, seller, seller_address) = match config.seller {
        SellerApi::Upstream(base) => (base, None, None),
        SellerApi::BuiltIn { port, delay } => {
            let serving =
                seller::serve(db.clone(), port, delay, stop.clone()).await.map_err(StartError::Listen)?;
            let base =
                Url::parse(&format!("http://{}", serving.address)).expect("an address is an authority");
            (base, Some(serving.task), Some(serving.address))
        }
    };
    // Behind everything that can fail, and behind the seed, which keeps SQLite's only writer to itself.
    let outbox = Outbox::builder(&cache, db.outbox_pool()).start();
    let writes = TaskTracker::new();
    let app = App::new(Parts {
        db: db.clone(),
        cache,
        outbox: outbox.clone(),
        tokens: Arc::clone(&tokens),
        passwords: Passwords::default(),
        throttle: Throttle::default(),
        policies,
        seller: Upstream::new(client.clone(), base, config.upstream_timeout),
        ai: config.ai.map(|config| ai::Generator::new(client, config)),
        writes: writes.clone(),
    });
    let (router, openapi) = routes().split_for_parts();
    let router = router.with_state(app.clone());
    let warming =
        (!warm.is_empty()).then(|| tokio::spawn(warm::keep(app, router.clone(), warm, stop.clone())));
    Ok(Backend {
        router,
        openapi: complete(openapi),
        tokens,
        db,
        outbox,
        seller_address,
        writes,
        stop,
        seller,
        warming,
    })
}

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(auth::routes())
        .merge(campaigns::routes())
        .merge(leads::routes())
        .merge(dashboard::routes())
        .merge(ai::routes())
        .merge(seller::routes())
        .merge(posts::routes())
        .merge(users::routes())
        .merge(jobs::routes())
        .merge(conversations::routes())
        .merge(messages::routes())
        .merge(notifications::routes())
        .merge(catalog::routes())
        .merge(threats::routes())
}

async fn tokens(db: &Db, config: &JwtConfig) -> Result<Tokens, StartError> {
    let secret = match &config.secret {
        Some(secret) => secret.clone(),
        None => {
            let mut random = [0_u8; 32];
            ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
                .map_err(|_| StartError::Config("the system gives no randomness".to_owned()))?;
            let fresh: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            kept_secret(db, &fresh).await?
        }
    };
    Ok(Tokens::new(&secret, config))
}

/// Adds what every operation has, whoever describes it: the way to sign in, and problems as errors.
#[must_use]
pub fn complete(mut openapi: OpenApi) -> OpenApi {
    let components = openapi.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let mut schemas = Vec::new();
    ProblemBody::schemas(&mut schemas);
    schemas.push((ProblemBody::name().into_owned(), ProblemBody::schema()));
    components.schemas.extend(schemas);
    let problem = ResponseBuilder::new()
        .description("What went wrong (RFC 9457)")
        .content(
            larder_http::problem::PROBLEM_JSON,
            Content::new(Some(Ref::from_schema_name(ProblemBody::name()))),
        )
        .build();
    for path in openapi.paths.paths.values_mut() {
        let operations = [&mut path.get, &mut path.post, &mut path.put, &mut path.delete, &mut path.patch];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            responses.entry("default".to_owned()).or_insert_with(|| RefOr::T(problem.clone()));
        }
    }
    openapi
}
