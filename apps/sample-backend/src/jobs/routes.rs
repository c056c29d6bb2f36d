//! `/api/v1/jobs`

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use larder::{Event, Key, Selector, key, prefix};
use larder_http::{Conditions, Json, Page, PageParams, Problem, Query};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{Job, JobsStats, NewJob};
use super::sql;
use crate::app::App;
use crate::auth::User;
use crate::cached::cached;
use crate::ttl::Endpoint;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(stats))
}

fn list_key(page: PageParams) -> Key {
    key!("jobs", "page", page.page, "limit", page.limit)
}

/// What shows a job: the lists and the statistics.
fn shown_in() -> [Selector; 2] {
    [prefix!("jobs"), key!("jobs_stats").into()]
}

/// Lists jobs, newest first.
#[utoipa::path(
    get, path = "/api/v1/jobs", tag = "feed", operation_id = "list_jobs",
    params(PageParams), security(("bearer" = [])),
    responses((status = 200, body = Page<Job>))
)]
async fn list(
    State(app): State<App>,
    user: User,
    Query(page): Query<PageParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (db, tenant) = (app.db.clone(), user.tenant.clone());
    let load = move || async move { Ok(sql::list(&db, &tenant, page).await?) };
    cached(user.scope(), list_key(page), app.policy(Endpoint::Jobs), &conditions, load).await
}

/// Shows the tenant's jobs in numbers.
#[utoipa::path(
    get, path = "/api/v1/jobs/stats", tag = "feed", operation_id = "jobs_stats",
    security(("bearer" = [])), responses((status = 200, body = JobsStats))
)]
async fn stats(State(app): State<App>, user: User, conditions: Conditions) -> Result<Response, Problem> {
    let (db, tenant) = (app.db.clone(), user.tenant.clone());
    let load = move || async move { Ok(sql::stats(&db, &tenant).await?) };
    cached(user.scope(), key!("jobs_stats"), app.policy(Endpoint::JobsStats), &conditions, load).await
}

/// Posts a job.
#[utoipa::path(
    post, path = "/api/v1/jobs", tag = "feed", operation_id = "create_job",
    request_body = NewJob, security(("bearer" = [])),
    responses((status = 201, body = Job))
)]
async fn create(State(app): State<App>, user: User, Json(new): Json<NewJob>) -> Result<Response, Problem> {
    user.may_write()?;
    let on = app.clone();
    let made = app
        .write(async move {
            let mut write = on.begin(&user.cache).await?;
            let made = sql::create(write.tx(), &user.tenant, new).await?;
            let data = serde_json::json!({
                "id": made.id,
                "title": made.title,
                "company": made.company,
                "location": made.location,
                "category": made.category,
            });
            let event = Event::new("job.created").id(made.id.to_string()).data(data);
            write.emit(event.invalidates(shown_in())).await?;
            write.commit().await?;
            Ok(made)
        })
        .await?;
    Ok((StatusCode::CREATED, axum::Json(made)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_list_is_that_of_the_contract() {
        let key = list_key(PageParams { page: 2, limit: 5 });
        assert_eq!(key.render("acme"), "jobs:acme:page:2:limit:5");
    }
}
