//! The segments of the key: those that are listed, or the prefix and every argument.

use proc_macro2::Span;
use syn::{Expr, Ident, LitStr};

use crate::argument::Argument;
use crate::check::Place;
use crate::nearest::nearest;
use crate::parse::{Listed, Problems};

/// # Errors
/// If there is no key, or two.
pub(crate) fn segments(
    key: Option<Listed<Expr>>,
    prefix: Option<LitStr>,
    skip: Option<Listed<Ident>>,
    inputs: &[Argument],
    place: Option<&Place>,
) -> syn::Result<Vec<Expr>> {
    match (key, prefix) {
        (Some(_), Some(prefix)) => Err(syn::Error::new(
            prefix.span(),
            "`prefix` makes the key of every argument, `key(..)` spells it out: give one of them",
        )),
        (None, None) => Err(syn::Error::new(
            Span::call_site(),
            "under which key? Add `key(\"users\", id)`, or `prefix = \"users\"` to use every argument",
        )),
        (Some(key), None) => {
            if key.items.is_empty() {
                return Err(syn::Error::new(key.name, "a key has at least one segment: `key(\"users\")`"));
            }
            match skip {
                Some(skip) => Err(syn::Error::new(
                    skip.name,
                    "`skip` goes with `prefix`; with `key(..)` only what is listed is part of the key",
                )),
                None => Ok(key.items),
            }
        }
        (None, Some(prefix)) if prefix.value().is_empty() => Err(syn::Error::new(
            prefix.span(),
            "the first segment of a key is not empty: it names the endpoint",
        )),
        (None, Some(prefix)) => {
            let skipped = skipped(skip, inputs)?;
            let place = place.map_or(Vec::new(), Place::names);
            let rest = inputs.iter().map(Argument::name);
            let rest =
                rest.filter(|&name| name != "self" && !skipped.contains(name) && !place.contains(name));
            let first = syn::parse_quote!(#prefix);
            Ok(std::iter::once(first).chain(rest.map(|name| syn::parse_quote!(#name))).collect())
        }
    }
}

fn skipped(skip: Option<Listed<Ident>>, inputs: &[Argument]) -> syn::Result<Vec<Ident>> {
    let Some(skip) = skip else { return Ok(Vec::new()) };
    let mut problems = Problems::default();
    let names: Vec<String> = inputs.iter().map(|a| a.name().to_string()).collect();
    for name in &skip.items {
        if name == "self" {
            problems.add(name.span(), "`self` is never part of the key, so it need not be skipped");
        } else if !names.iter().any(|known| name == known) {
            let hint = match nearest(&name.to_string(), names.iter().map(String::as_str)) {
                Some(known) => format!("; did you mean `{known}`?"),
                None => String::new(),
            };
            problems.add(name.span(), format!("there is no argument `{name}` to skip{hint}"));
        }
    }
    problems.into_result(skip.items)
}
