//! `larder user add`: somebody who may sign in.

use std::io::{self, BufRead, IsTerminal};

use clap::{Args, Subcommand};
use larder_http::Role;
use sample_backend::auth::{AddUserError, NewUser, add_user};

use super::out;
use super::serve::{database, database_failure};
use crate::cli::SettingFlags;
use crate::client::block_on;
use crate::config;
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// Add a user to the database; the password comes from a prompt or from standard input.
    Add(AddArgs),
}

#[derive(Args, Debug)]
pub(crate) struct AddArgs {
    /// The e-mail address that the user signs in with
    email: String,
    /// The tenant's id; made if there is none such
    #[arg(long)]
    tenant: String,
    /// owner, member, admin or ingest
    #[arg(long, value_parser = role)]
    role: Role,
    #[command(flatten)]
    settings: SettingFlags,
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error: larder_http::who::UnknownRole| error.to_string())
}

pub(crate) fn run(verb: UserVerb) -> Result<(), Failure> {
    let UserVerb::Add(args) = verb;
    let loaded = config::load(args.settings.0)?;
    crate::warn(&loaded.warnings);
    let database = database(&loaded.config);
    let AddArgs { email, tenant, role, .. } = args;
    let new = NewUser { email: email.clone(), tenant: tenant.clone(), role, password: password()? };
    block_on(async { add_user(&database, new).await.map_err(failure) })?;
    out(&format!("{email} may sign in as {role} of {tenant}.\n"))
}

fn failure(error: AddUserError) -> Failure {
    match &error {
        AddUserError::Start(start) => database_failure(start),
        AddUserError::Exists(_) => Failure::new(error.to_string())
            .hint("choose another e-mail address; users of all tenants sign in by it"),
        _ => Failure::new(error.to_string()),
    }
}

/// Asked for twice on a terminal, where nobody sees it; otherwise the first line of standard input.
fn password() -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::new(format!("the password can't be read: {error}"));
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(failed)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let first = rpassword::prompt_password("Password: ").map_err(failed)?;
    let again = rpassword::prompt_password("Again: ").map_err(failed)?;
    if first == again { Ok(first) } else { Err(Failure::new("the two passwords differ; nobody was added")) }
}
