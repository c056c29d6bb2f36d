//! A two-tier cache for multi-tenant backends that is never stale after an invalidation.

pub mod scope;
pub mod store;
