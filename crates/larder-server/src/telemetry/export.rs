//! OpenTelemetry: spans by OTLP over HTTP (protobuf), as the standard variables say.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) switches it on; `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS`,
//! `OTEL_BSP_…` and `OTEL_SDK_DISABLED` mean what <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> says.
//!
//! Ended spans go into a bounded queue that a thread of its own empties. Where that is full they are dropped: a collector
//! that does not answer costs spans, and no request waits for it.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;

use super::AnyLayer;
use crate::failure::Failure;

/// One export may take so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is still in the queue at the end may take so long.
const FLUSH: Duration = Duration::from_secs(2);
/// What the service is called where nobody says so.
const NAME: &str = "larder";

/// Sends spans until it is dropped; then, for a moment, the last ones.
pub(crate) struct Export(SdkTracerProvider);

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Begins, if a collector is named.
pub(crate) fn start() -> Result<Option<(Export, AnyLayer)>, Failure> {
    let named = is_set("OTEL_EXPORTER_OTLP_ENDPOINT") || is_set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let disabled = std::env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    if !named || disabled {
        return Ok(None);
    }
    let failed = |error: &dyn std::fmt::Display| {
        Failure::configuration(format!("traces can't be exported: {error}"))
            .hint("OTEL_EXPORTER_OTLP_ENDPOINT takes an address such as http://127.0.0.1:4318")
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Http::new()?)
        .build()
        .map_err(|error| failed(&error))?;
    let mut resource = Resource::builder()
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if !is_set("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(NAME);
    }
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("larder"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    Ok(Some((Export(provider), layer.boxed())))
}

/// A request began: it is a part of what its `traceparent` names (W3C Trace Context).
pub(crate) fn begun(span: &Span, method: &Method, path: &str, headers: &HeaderMap) {
    if span.is_none() {
        return;
    }
    // Where no collector is named there is no layer, and nothing to be a part of.
    if span.set_parent(TraceContextPropagator::new().extract(&HeaderExtractor(headers))).is_ok() {
        span.set_attribute("http.request.method", method.to_string());
        span.set_attribute("url.path", path.to_owned());
    }
}

/// It was answered.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    span.set_attribute("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.set_status(opentelemetry::trace::Status::error(status.to_string()));
    }
}

/// HTTP for the thread that exports, on a runtime of its own, which outlives the server's.
#[derive(Debug)]
struct Http {
    client: reqwest::Client,
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
}

impl Http {
    fn new() -> Result<Self, Failure> {
        let failed = |why: &dyn std::fmt::Display| Failure::new(format!("traces can't be exported: {why}"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("larder-otel")
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        let client = reqwest::Client::builder().timeout(PATIENCE).build().map_err(|error| failed(&error))?;
        Ok(Self { client, runtime: Some(runtime) })
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl HttpClient for Http {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let client = self.client.clone();
        let work = async move {
            let answer = client.execute(request.try_into()?).await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            Ok::<_, HttpError>(response.body(answer.bytes().await?)?)
        };
        Box::pin(async move {
            let runtime = self.runtime.as_ref().ok_or("the exporter has ended")?;
            runtime.spawn(work).await?
        })
    }
}
