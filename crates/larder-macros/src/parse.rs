//! First step: the attribute's arguments as they were written, each option once.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, LitStr, Token, parenthesized};

use crate::nearest::nearest;

/// Every option there is, in the order in which the docs explain them.
pub(crate) const OPTIONS: [&str; 12] = [
    "cache",
    "tenant",
    "key",
    "prefix",
    "skip",
    "ttl",
    "tag",
    "tags",
    "negative_ttl",
    "stale_if_error",
    "stale_while_revalidate",
    "policy",
];

/// The arguments of `#[cached(..)]`. Nothing is judged yet but spelling and repetition.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) cache: Option<Expr>,
    pub(crate) tenant: Option<Expr>,
    pub(crate) key: Option<Listed<Expr>>,
    pub(crate) prefix: Option<LitStr>,
    pub(crate) skip: Option<Listed<Ident>>,
    pub(crate) ttl: Option<Expr>,
    pub(crate) negative_ttl: Option<Expr>,
    pub(crate) stale_if_error: Option<Expr>,
    pub(crate) stale_while_revalidate: Option<Expr>,
    pub(crate) policy: Option<Expr>,
    /// `tag` and `tags(..)`, the options that may be given more than once.
    pub(crate) tags: Vec<Expr>,
}

/// An option of the form `name(item, item)`.
pub(crate) struct Listed<T> {
    /// Where the option's name stands, for complaints about the list as a whole.
    pub(crate) name: Span,
    pub(crate) items: Vec<T>,
}

impl Parse for Args {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut args = Args::default();
        let mut problems = Problems::default();
        while !input.is_empty() {
            let name = input.call(Ident::parse_any)?;
            args.option(&name, input, &mut problems)?;
            if input.is_empty() {
                break;
            }
            input.parse::<Token![,]>()?;
        }
        problems.into_result(args)
    }
}

impl Args {
    fn option(&mut self, name: &Ident, input: ParseStream<'_>, problems: &mut Problems) -> syn::Result<()> {
        match name.to_string().as_str() {
            "cache" => set(&mut self.cache, name, assigned(name, input)?, problems),
            "tenant" => set(&mut self.tenant, name, assigned(name, input)?, problems),
            "key" => set(&mut self.key, name, listed(name, input, Expr::parse)?, problems),
            "prefix" => set(&mut self.prefix, name, assigned(name, input)?, problems),
            "skip" => set(&mut self.skip, name, listed(name, input, Ident::parse_any)?, problems),
            "ttl" => set(&mut self.ttl, name, assigned(name, input)?, problems),
            "negative_ttl" => set(&mut self.negative_ttl, name, assigned(name, input)?, problems),
            "stale_if_error" => set(&mut self.stale_if_error, name, assigned(name, input)?, problems),
            "stale_while_revalidate" => {
                set(&mut self.stale_while_revalidate, name, assigned(name, input)?, problems);
            }
            "policy" => set(&mut self.policy, name, assigned(name, input)?, problems),
            "tag" => self.tags.push(assigned(name, input)?),
            "tags" => self.tags.extend(listed(name, input, Expr::parse)?.items),
            unknown => {
                problems.add(name.span(), unknown_option(unknown));
                skip_value(input)?;
            }
        }
        Ok(())
    }
}

fn unknown_option(name: &str) -> String {
    match nearest(name, OPTIONS) {
        Some(known) => format!("`#[cached]` has no option `{name}`; did you mean `{known}`?"),
        None => format!("`#[cached]` has no option `{name}`; there are: {}", OPTIONS.join(", ")),
    }
}

fn set<T>(place: &mut Option<T>, name: &Ident, value: T, problems: &mut Problems) {
    if place.replace(value).is_some() {
        problems.add(name.span(), format!("`{name}` is given twice"));
    }
}

/// The value of `name = value`.
fn assigned<T: Parse>(name: &Ident, input: ParseStream<'_>) -> syn::Result<T> {
    if !input.peek(Token![=]) {
        let example = match name.to_string().as_str() {
            "prefix" | "tag" => "\"users\"",
            "cache" => "cache",
            "tenant" => "tenant",
            "policy" => "&POLICY",
            _ => "\"5m\"",
        };
        return Err(syn::Error::new(name.span(), format!("`{name}` takes a value: `{name} = {example}`")));
    }
    input.parse::<Token![=]>()?;
    input.parse()
}

/// The items of `name(item, item)`.
fn listed<T>(
    name: &Ident,
    input: ParseStream<'_>,
    item: fn(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<Listed<T>> {
    if !input.peek(syn::token::Paren) {
        let example = match name.to_string().as_str() {
            "key" => "key(\"users\", id)",
            "tags" => "tags(\"users\", format!(\"user:{id}\"))",
            _ => "skip(db)",
        };
        return Err(syn::Error::new(name.span(), format!("`{name}` takes a list: `{example}`")));
    }
    let content;
    parenthesized!(content in input);
    let items = Punctuated::<T, Token![,]>::parse_terminated_with(&content, item)?;
    Ok(Listed { name: name.span(), items: items.into_iter().collect() })
}

/// Steps over what follows an unknown name, so that the options after it are still looked at.
fn skip_value(input: ParseStream<'_>) -> syn::Result<()> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        input.parse::<Expr>()?;
    } else if input.peek(syn::token::Paren) {
        input.parse::<proc_macro2::Group>()?;
    }
    Ok(())
}

/// What is wrong, all of it: a person should not have to compile once per mistake.
#[derive(Default)]
pub(crate) struct Problems(Option<syn::Error>);

impl Problems {
    pub(crate) fn add(&mut self, span: Span, message: impl std::fmt::Display) {
        self.push(syn::Error::new(span, message));
    }

    pub(crate) fn push(&mut self, problem: syn::Error) {
        match &mut self.0 {
            Some(first) => first.combine(problem),
            none => *none = Some(problem),
        }
    }

    /// # Panics
    /// If nothing was wrong.
    pub(crate) fn into_error(self) -> syn::Error {
        self.0.expect("a part is missing only where a problem was noted")
    }

    /// `value`, unless something was wrong.
    pub(crate) fn into_result<T>(self, value: T) -> syn::Result<T> {
        match self.0 {
            Some(problem) => Err(problem),
            None => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(source: &str) -> Vec<String> {
        match syn::parse_str::<Args>(source) {
            Ok(_) => Vec::new(),
            Err(error) => error.into_iter().map(|e| e.to_string()).collect(),
        }
    }

    #[test]
    fn every_option_is_read() {
        let args: Args = syn::parse_str(
            r#"cache = app.cache, tenant = t, key("users", id + 1), prefix = "users", skip(db, log), ttl = "5m",
               tag = "a", tag = format!("b:{id}"), tags("c", d), negative_ttl = "1s", stale_if_error = DAY,
               stale_while_revalidate = "1m", policy = &POLICY,"#,
        )
        .unwrap();
        assert!(args.cache.is_some() && args.tenant.is_some() && args.policy.is_some() && args.ttl.is_some());
        assert!(args.negative_ttl.is_some() && args.stale_if_error.is_some());
        assert!(args.stale_while_revalidate.is_some());
        assert_eq!(args.key.unwrap().items.len(), 2);
        assert_eq!(args.prefix.unwrap().value(), "users");
        assert_eq!(args.skip.unwrap().items, ["db", "log"]);
        assert_eq!(args.tags.len(), 4);
    }

    #[test]
    fn unknown_options_are_all_named_with_what_was_probably_meant() {
        assert_eq!(
            problems(r#"ttk = "5m", tages("a"), whatever, ttl = "5m""#),
            [
                "`#[cached]` has no option `ttk`; did you mean `ttl`?",
                "`#[cached]` has no option `tages`; did you mean `tags`?",
                &format!("`#[cached]` has no option `whatever`; there are: {}", OPTIONS.join(", ")),
            ]
        );
    }

    #[test]
    fn an_option_given_twice_is_refused_but_tags_repeat() {
        assert_eq!(
            problems(r#"ttl = "5m", tag = "a", tag = "b", tags("c"), tags(), ttl = "6m""#),
            ["`ttl` is given twice"]
        );
    }

    #[test]
    fn a_list_written_as_a_value_and_the_reverse_are_explained() {
        assert_eq!(problems(r#"key = "users""#), ["`key` takes a list: `key(\"users\", id)`"]);
        assert_eq!(
            problems(r#"tags = ["a"]"#),
            ["`tags` takes a list: `tags(\"users\", format!(\"user:{id}\"))`"]
        );
        assert_eq!(problems(r#"ttl("5m")"#), ["`ttl` takes a value: `ttl = \"5m\"`"]);
        assert_eq!(problems("cache"), ["`cache` takes a value: `cache = cache`"]);
    }

    #[test]
    fn a_prefix_must_be_a_string_literal() {
        assert_eq!(problems("prefix = PREFIX"), ["expected string literal"]);
    }
}
