//! Second step: what was written, judged. What passes is a [`Plan`] that can be expanded without further questions.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Block, Expr, FnArg, Ident, ItemFn, Pat};

use crate::argument::{Argument, owned_copy_of};
use crate::body;
use crate::parse::{Args, Problems};
use crate::period::Period;
use crate::returns::Returns;
use crate::segments::segments;

/// A function that can be cached, and how.
pub(crate) struct Plan {
    pub(crate) place: Place,
    /// The key's segments, in order.
    pub(crate) key: Vec<Expr>,
    pub(crate) policy: Policy,
    pub(crate) tags: Vec<Expr>,
    /// What the body needs of the receiver and the arguments; what it does not mention is not here.
    pub(crate) captured: Vec<Argument>,
    pub(crate) returns: Returns,
    /// The function as written.
    pub(crate) function: ItemFn,
    /// Its body, where `self` goes by another name.
    pub(crate) body: Block,
}

/// Whose entry it is.
pub(crate) enum Place {
    /// An expression that is a `larder::Tenant`.
    Tenant(Expr),
    /// A name, looked up in a cache.
    Named { cache: Expr, tenant: Expr },
    /// No tenant's: everybody sees the same entry.
    Shared(Expr),
}

/// How long, and what then.
pub(crate) enum Policy {
    /// An expression that is a `larder::Policy`.
    Given(Expr),
    Built {
        ttl: Period,
        more: Vec<(&'static str, Period)>,
    },
}

impl Plan {
    /// # Errors
    /// All that is wrong with `args` and `function`, at once.
    pub(crate) fn new(args: Args, function: ItemFn) -> syn::Result<Self> {
        let mut problems = Problems::default();
        if function.sig.asyncness.is_none() {
            let message = "`#[cached]` works on async functions: loading is waiting. Write `async fn`";
            problems.add(function.sig.fn_token.span, message);
        }
        let Args { cache, tenant, key, prefix, skip, tags, policy, .. } = args;
        let inputs = inputs(&function, &mut problems);
        let place = note(place(cache, tenant), &mut problems);
        let key = note(segments(key, prefix, skip, &inputs, place.as_ref()), &mut problems);
        let returns = note(Returns::new(&function.sig), &mut problems);
        let negative = args.negative_ttl.is_some();
        let times = [
            ("negative_ttl", args.negative_ttl),
            ("stale_if_error", args.stale_if_error),
            ("stale_while_revalidate", args.stale_while_revalidate),
        ];
        let policy = self::policy(policy, args.ttl, times, &mut problems);
        if let Some(returns) = returns.as_ref().filter(|returns| negative && !returns.optional) {
            let message =
                "`negative_ttl` remembers an absence: return `Result<Option<T>, E>` and say `Ok(None)`";
            problems.add(returns.value.span(), message);
        }
        let (Some(place), Some(key), Some(policy), Some(returns)) = (place, key, policy, returns) else {
            return Err(problems.into_error());
        };
        let mut body = (*function.block).clone();
        if function.sig.receiver().is_some() {
            note(body::rename_self(&mut body), &mut problems);
        }
        let captured = inputs.into_iter().filter(|a| body::mentions(&function.block, a.name())).collect();
        problems.into_result(Plan { place, key, policy, tags, captured, returns, function, body })
    }
}

/// The value, or `None` and its problem among the others.
fn note<T>(result: syn::Result<T>, problems: &mut Problems) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn inputs(function: &ItemFn, problems: &mut Problems) -> Vec<Argument> {
    let mut arguments = Vec::new();
    for input in &function.sig.inputs {
        let argument = match input {
            FnArg::Receiver(receiver) => {
                let name = Ident::new("self", receiver.self_token.span);
                owned_copy_of(
                    name,
                    receiver.mutability.filter(|_| receiver.reference.is_none()),
                    &receiver.ty,
                )
            }
            FnArg::Typed(typed) => match &*typed.pat {
                Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => {
                    owned_copy_of(pat.ident.clone(), pat.mutability, &typed.ty)
                }
                pattern => Err(syn::Error::new(
                    pattern.span(),
                    "`#[cached]` needs a name for each argument; take it apart in the body",
                )),
            },
        };
        arguments.extend(note(argument, problems));
    }
    arguments
}

fn place(cache: Option<Expr>, tenant: Option<Expr>) -> syn::Result<Place> {
    match (cache, tenant) {
        (None, Some(tenant)) => Ok(Place::Tenant(tenant)),
        (Some(cache), Some(tenant)) => Ok(Place::Named { cache, tenant }),
        (Some(cache), None) => Ok(Place::Shared(cache)),
        (None, None) => Err(syn::Error::new(
            Span::call_site(),
            "where is it cached? Add `tenant = ..` (a `larder::Tenant`), or `cache = ..` if it belongs to no tenant",
        )),
    }
}

fn policy(
    given: Option<Expr>,
    ttl: Option<Expr>,
    times: [(&'static str, Option<Expr>); 3],
    problems: &mut Problems,
) -> Option<Policy> {
    let mut period = |written: Expr| note(Period::new(written), problems);
    let has_ttl = ttl.is_some();
    let ttl = ttl.and_then(&mut period);
    let more: Vec<_> =
        times.into_iter().filter_map(|(name, written)| Some((name, period(written?)?))).collect();
    match given {
        Some(given) if has_ttl || !more.is_empty() => {
            let names = has_ttl.then_some("ttl").into_iter().chain(more.iter().map(|(name, _)| *name));
            let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            let message = format!("`policy` already says how long: move {} into it", names.join(", "));
            problems.add(given.span(), message);
            None
        }
        Some(given) => Some(Policy::Given(given)),
        None if !has_ttl => {
            problems.add(Span::call_site(), "for how long? Add `ttl = \"5m\"` or `policy = ..`");
            None
        }
        None => ttl.map(|ttl| Policy::Built { ttl, more }),
    }
}

impl Place {
    /// The arguments that say where the entry lives; they are no part of the key.
    pub(crate) fn names(&self) -> Vec<Ident> {
        let written = match self {
            Place::Tenant(one) | Place::Shared(one) => vec![one],
            Place::Named { cache, tenant } => vec![cache, tenant],
        };
        written.into_iter().filter_map(plain_name).collect()
    }
}

/// `name` out of `name` or `&name`.
fn plain_name(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::Path(path) => path.path.get_ident().cloned(),
        Expr::Reference(reference) => plain_name(&reference.expr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;

    use super::*;

    const GOOD: &str = "async fn user(tenant: &Tenant, db: Db, id: u64) -> Result<User, E> { db.user(id) }";

    fn plan(options: &str, function: &str) -> syn::Result<Plan> {
        Plan::new(syn::parse_str(options).unwrap(), syn::parse_str(function).unwrap())
    }

    fn problems(options: &str, function: &str) -> Vec<String> {
        match plan(options, function) {
            Ok(_) => Vec::new(),
            Err(error) => error.into_iter().map(|e| e.to_string()).collect(),
        }
    }

    #[track_caller]
    fn refused(options: &str, function: &str, reasons: &[&str]) {
        let problems = problems(options, function);
        assert_eq!(problems.len(), reasons.len(), "{problems:#?}");
        for (problem, reason) in problems.iter().zip(reasons) {
            assert!(problem.contains(reason), "{problem} lacks {reason}");
        }
    }

    fn key(options: &str, function: &str) -> Vec<String> {
        plan(options, function).unwrap().key.iter().map(|s| s.to_token_stream().to_string()).collect()
    }

    #[test]
    fn a_prefix_takes_every_argument_but_the_place_the_skipped_and_self() {
        assert_eq!(key(r#"tenant = tenant, prefix = "u", ttl = "1s""#, GOOD), ["\"u\"", "db", "id"]);
        assert_eq!(key(r#"tenant = &tenant, prefix = "u", skip(db), ttl = "1s""#, GOOD), ["\"u\"", "id"]);
        let method = "async fn user(&self, name: &str, id: u64) -> Result<User, E> { self.user(id) }";
        assert_eq!(
            key(r#"cache = self.c, tenant = name, prefix = "u", ttl = "1s""#, method),
            ["\"u\"", "id"]
        );
        assert_eq!(key(r#"cache = self.c, key("u", id + 1), ttl = "1s""#, method), ["\"u\"", "id + 1"]);
    }

    #[test]
    fn only_what_the_body_mentions_is_given_to_the_load() {
        let captured = plan(r#"tenant = tenant, key("u"), ttl = "1s""#, GOOD).unwrap().captured;
        assert_eq!(captured.iter().map(|a| a.name().to_string()).collect::<Vec<_>>(), ["db", "id"]);
    }

    #[test]
    fn what_is_missing_is_asked_for_all_at_once() {
        refused("", GOOD, &["where is it cached?", "under which key?", "for how long?"]);
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let both = r#"tenant = t, key("u"), prefix = "u", ttl = "1s""#;
        refused(both, GOOD, &["give one of them"]);
        refused(r#"tenant = t, key("u"), skip(db), ttl = "1s""#, GOOD, &["`skip` goes with `prefix`"]);
        let twice = r#"tenant = t, key("u"), ttl = "1s", stale_if_error = "1h", policy = P"#;
        refused(twice, GOOD, &["move `ttl`, `stale_if_error` into it"]);
        let negative = r#"tenant = t, key("u"), ttl = "1s", negative_ttl = "1s""#;
        refused(negative, GOOD, &["return `Result<Option<T>, E>`"]);
    }

    #[test]
    fn an_empty_key_is_refused() {
        refused(r#"tenant = t, key(), ttl = "1s""#, GOOD, &["at least one segment"]);
        refused(r#"tenant = t, prefix = "", ttl = "1s""#, GOOD, &["names the endpoint"]);
    }

    #[test]
    fn skipping_what_is_no_argument_is_refused_with_a_guess() {
        let options = r#"tenant = t, prefix = "u", skip(dbb, self, other), ttl = "1s""#;
        refused(
            options,
            GOOD,
            &["there is no argument `dbb` to skip; did you mean `db`?", "never part", "`other` to skip"],
        );
    }

    #[test]
    fn functions_that_cannot_be_cached_are_explained() {
        const FINE: &str = r#"tenant = t, key("u"), ttl = "1s""#;
        refused(FINE, "fn f() -> Result<u8, E> { Ok(1) }", &["Write `async fn`"]);
        refused(FINE, "async fn f() -> u8 { 1 }", &["return `Result<T, E>`"]);
        refused(
            FINE,
            "async fn f(&mut self) -> Result<u8, E> { Ok(1) }",
            &["`self` cannot be given to the load"],
        );
        refused(
            FINE,
            "async fn f((a, b): (u8, u8)) -> Result<u8, E> { Ok(a) }",
            &["a name for each argument"],
        );
        refused(
            FINE,
            "fn f(a: &mut u8, b: impl Display) { }",
            &["Write `async fn`", "`a` cannot", "`b` cannot", "return `Result<T, E>`"],
        );
    }
}
