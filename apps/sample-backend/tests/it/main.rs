//! The backend from outside its modules, on SQLite and on PostgreSQL by the same code.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod ai;
mod auth;
mod campaigns;
mod database;
mod document;
mod feed;
mod seller;
mod support;
mod talks;
mod threats;
mod warm;
