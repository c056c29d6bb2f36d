//! `/api/v1/auth`

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use http::StatusCode;
use http::header::LOCATION;
use larder::key;
use larder_http::{Body, ClientAddr, Conditions, Errors, Fields, Identity, Json, Problem, Role};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::sql::{self, Account};
use super::user::User;
use crate::app::App;
use crate::cached::cached_opt;
use crate::ttl::Endpoint;

/// The shortest password that is taken.
pub(super) const MIN_PASSWORD: usize = 8;
/// The longest. Hashing takes as long as the password is.
pub(super) const MAX_PASSWORD: usize = 256;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(register)).routes(routes!(login)).routes(routes!(me))
}

/// A new tenant and its owner.
#[derive(Debug, Clone, ToSchema)]
struct Register {
    /// What the tenant is called.
    #[schema(min_length = 1, max_length = 100)]
    tenant_name: String,
    /// The owner's address.
    #[schema(max_length = 254, format = "email")]
    email: String,
    /// The owner's password.
    #[schema(min_length = 8, max_length = 256, format = "password")]
    password: String,
    /// The owner's name.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
}

impl Body for Register {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let (tenant_name, email) = (f.text("tenant_name", 1..=100), f.email("email"));
        let (password, name) = (password(&mut f, MIN_PASSWORD), f.text("name", 1..=100));
        Some(Self { tenant_name: tenant_name?, email: email?, password: password?, name: name? })
    }
}

/// Who wants to sign in.
#[derive(Debug, Clone, ToSchema)]
struct Login {
    /// The address.
    email: String,
    /// The password.
    #[schema(format = "password")]
    password: String,
}

impl Body for Login {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let (email, password) = (f.text("email", 1..=254), password(&mut f, 1));
        Some(Self { email: email?.to_lowercase(), password: password? })
    }
}

/// A password is taken as it is, with its spaces.
fn password(f: &mut Fields<'_>, min: usize) -> Option<String> {
    match f.required("password")? {
        Value::String(text) if (min..=MAX_PASSWORD).contains(&text.len()) => Some(text),
        _ => f.fault("password", format!("must be {min} to {MAX_PASSWORD} bytes long")),
    }
}

/// Somebody who is signed in now.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct SignedIn {
    /// To be sent as `Authorization: Bearer …`.
    access_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// How long the token is valid, in seconds.
    expires_in: u64,
    /// The tenant.
    tenant_id: String,
    /// Who that is.
    user: Account,
}

fn signed_in(app: &App, tenant: String, user: Account) -> SignedIn {
    let who = Identity { tenant, user: user.id.to_string(), role: user.role };
    let access_token = app.tokens.issue(&who);
    let expires_in = app.tokens.ttl().as_secs();
    SignedIn { access_token, token_type: "bearer", expires_in, tenant_id: who.tenant, user }
}

/// Makes a tenant with its owner, who is signed in at once.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "auth", operation_id = "register",
    request_body = Register, responses((status = 201, body = SignedIn, headers(("location" = String, description = "Where the owner is"))))
)]
async fn register(
    State(app): State<App>,
    address: Option<Extension<ClientAddr>>,
    Json(new): Json<Register>,
) -> Result<Response, Problem> {
    throttle(&app, address, &new.email)?;
    let hash = app.passwords.hash(new.password).await?;
    let db = app.db.clone();
    let made = app.write(async move {
        let made = async {
            let mut tx = db.begin().await?;
            let tenant = sql::create_tenant(&mut tx, &new.tenant_name).await?;
            let owner = sql::create_user(&mut tx, &tenant, (new.email, new.name, Role::Owner), hash).await?;
            tx.commit().await?;
            Ok::<_, crate::db::DbError>((tenant, owner))
        };
        made.await.map_err(|error| {
            if error.is_duplicate() {
                Problem::conflict("there is such a tenant or user already")
            } else {
                error.into()
            }
        })
    });
    let (tenant, owner) = made.await?;
    let location = [(LOCATION, format!("/api/v1/users/{}", owner.id))];
    Ok((StatusCode::CREATED, location, Answer(signed_in(&app, tenant, owner))).into_response())
}

/// Signs a user in.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "auth", operation_id = "login",
    request_body = Login, responses((status = 200, body = SignedIn))
)]
async fn login(
    State(app): State<App>,
    address: Option<Extension<ClientAddr>>,
    Json(Login { email, password }): Json<Login>,
) -> Result<Answer<SignedIn>, Problem> {
    throttle(&app, address, &email)?;
    let known = sql::login(&app.db, &email).await?;
    let hash = known.as_ref().map(|login| login.hash.clone());
    let right = app.passwords.verify(password, hash).await?;
    match known {
        Some(login) if right => Ok(Answer(signed_in(&app, login.tenant, login.account))),
        _ => Err(Problem::new(StatusCode::UNAUTHORIZED, "the e-mail or the password is wrong")),
    }
}

/// Shows who is signed in.
#[utoipa::path(
    get, path = "/api/v1/auth/me", tag = "auth", operation_id = "me",
    security(("bearer" = [])), responses((status = 200, body = Me))
)]
async fn me(State(app): State<App>, user: User, conditions: Conditions) -> Result<Response, Problem> {
    let (db, tenant, id) = (app.db.clone(), user.tenant.clone(), user.id);
    let load = move || async move {
        let account = sql::me(&db, &tenant, id).await?;
        Ok(account.map(|account| Me { account, tenant_id: tenant }))
    };
    let key = key!("user_profile", user.id, "me");
    cached_opt(user.scope(), key, app.policy(Endpoint::UserProfile), &conditions, load).await
}

/// Who is signed in.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Me {
    #[serde(flatten)]
    account: Account,
    /// The tenant.
    tenant_id: String,
}

fn throttle(app: &App, address: Option<Extension<ClientAddr>>, email: &str) -> Result<(), Problem> {
    // Without a server around it there is one client.
    let address = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(client)| client.0);
    app.throttle
        .take(address, email, Instant::now())
        .map_err(|wait| Problem::too_many_requests("too many tries; wait a little", wait))
}
