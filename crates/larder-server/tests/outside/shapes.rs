//! The bodies of the contract.

use serde_json::{Value, json};

pub(crate) fn page(item: Value) -> Value {
    json!({"items": [item], "page": "int", "limit": "int", "total": "int"})
}

pub(crate) fn campaign() -> Value {
    json!({
        "id": "uuid", "name": "string", "channel": "email|sms|social|search|display",
        "status": "draft|active|paused|completed", "budget_cents": "int", "created_at": "time", "updated_at": "time",
    })
}

pub(crate) fn lead() -> Value {
    json!({
        "id": "uuid", "campaign_id": "uuid", "email": "string", "name": "string",
        "status": "new|contacted|qualified|converted|lost", "value_cents": "int", "created_at": "time",
    })
}

pub(crate) fn import() -> Value {
    json!({"imported": "int", "rejected": [{"line": "int", "reason": "string"}]})
}

pub(crate) fn login() -> Value {
    json!({
        "access_token": "string", "token_type": "string", "expires_in": "int", "tenant_id": "string", "user": login_user(),
    })
}

fn login_user() -> Value {
    json!({"id": "uuid", "email": "string", "name": "string", "role": "owner|member|admin|ingest"})
}

pub(crate) fn dashboard_stats() -> Value {
    json!({
        "campaigns": "int", "active_campaigns": "int", "leads": "int", "converted_leads": "int",
        "conversion_rate": "number", "budget_cents": "int", "pipeline_value_cents": "int",
    })
}

pub(crate) fn generation() -> Value {
    json!({"text": "string", "model": "string", "cached": "bool"})
}

pub(crate) fn payload() -> Value {
    json!({"payload": "any"})
}

pub(crate) fn threat() -> Value {
    json!({
        "id": "uuid", "title": "string", "severity": "low|medium|high|critical", "source": "string", "indicator": "string",
        "published_at": "time",
    })
}

pub(crate) fn threat_stats() -> Value {
    json!({"total_threats": "int", "last_24h": "int", "sources": "int", "by_severity": {"*": "int"}})
}

pub(crate) fn trend() -> Value {
    json!({"days": "int", "points": [{"date": "date", "count": "int"}]})
}

pub(crate) fn chart(of: &str) -> Value {
    json!({"items": [{of: "string", "count": "int"}]})
}

pub(crate) fn user() -> Value {
    json!({"id": "uuid", "name": "string", "headline": "string"})
}

pub(crate) fn profile() -> Value {
    json!({"user": user(), "bio": "string", "posts_count": "int", "joined_at": "time"})
}

fn person() -> Value {
    json!({"id": "uuid", "name": "string"})
}

pub(crate) fn post() -> Value {
    json!({"id": "uuid", "author": person(), "body": "string", "created_at": "time"})
}

pub(crate) fn job() -> Value {
    json!({
        "id": "uuid", "title": "string", "company": "string", "location": "string", "category": "string",
        "salary_min_cents": "int", "salary_max_cents": "int", "created_at": "time",
    })
}

pub(crate) fn job_stats() -> Value {
    json!({"total": "int", "average_salary_cents": "int", "by_category": {"*": "int"}, "by_location": {"*": "int"}})
}

pub(crate) fn conversation() -> Value {
    json!({"id": "uuid", "participants": [person()], "last_message": "any", "updated_at": "time"})
}

pub(crate) fn message() -> Value {
    json!({"id": "uuid", "conversation_id": "uuid", "sender_id": "uuid", "body": "string", "created_at": "time"})
}

pub(crate) fn notification() -> Value {
    json!({"id": "uuid", "kind": "string", "text": "string", "read": "bool", "created_at": "time"})
}

/// Categories and locations.
pub(crate) fn named() -> Value {
    person()
}

pub(crate) fn health() -> Value {
    json!({
        "status": "ok|degraded|down", "version": "string", "uptime_s": "number", "database": "string",
        "redis_cache": "connected|disabled|unavailable|unsupported",
    })
}

pub(crate) fn cache_health() -> Value {
    let stats = json!({
        "hits": "int", "misses": "int", "hit_rate_percent": "number", "redis_available": "bool", "memory_cache_size": "int",
    });
    json!({"status": "healthy|degraded|disabled", "backend": "redis|memory", "latency_ms": "number", "stats": stats})
}

pub(crate) fn cache_stats() -> Value {
    json!({
        "status": "string", "enabled": "bool", "total_keys": "int", "hits": "int", "misses": "int", "hit_rate": "number",
        "l1_hits": "int", "l2_hits": "int", "stale_hits": "int", "coalesced": "int", "loads": "int", "load_errors": "int",
        "invalidations": "int", "evictions": "int", "by_endpoint": {"*": "any"},
    })
}

pub(crate) fn cleared() -> Value {
    json!({"cleared": "bool", "scope": "string"})
}
