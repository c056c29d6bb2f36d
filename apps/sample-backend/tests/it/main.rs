//! The backend from outside its modules, on SQLite and on PostgreSQL by the same code.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod auth;
mod campaigns;
mod database;
mod feed;
mod support;
mod talks;
mod threats;
