//! The function's body, which moves into an async block: what it mentions, and `self` under another name.

use proc_macro2::{Group, Ident, Literal, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};
use syn::{Block, ExprPath, Item, Macro};

use crate::parse::Problems;

/// Whether `block` may use `name`. A format string counts too: `format!("{name:>width$}")` uses two names.
pub(crate) fn mentions(block: &Block, name: &Ident) -> bool {
    any_mention(block.to_token_stream(), &name.to_string())
}

fn any_mention(tokens: TokenStream, name: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => any_mention(group.stream(), name),
        TokenTree::Ident(ident) => ident == name,
        TokenTree::Literal(literal) => captures(&literal, name),
        TokenTree::Punct(_) => false,
    })
}

fn captures(literal: &Literal, name: &str) -> bool {
    let text = literal.to_string();
    text.contains(&format!("{{{name}")) || text.contains(&format!("{name}$"))
}

/// The name under which the body finds `name`: `self` cannot be bound by `let`.
pub(crate) fn local_name(name: &Ident) -> Ident {
    match name == "self" {
        true => Ident::new("__larder_receiver", name.span().resolved_at(Span::mixed_site())),
        false => name.clone(),
    }
}

/// Lets `block` use [`local_name`] for each `self` that is the function's own.
///
/// # Errors
/// If it stands in a format string, where it cannot be renamed.
pub(crate) fn rename_self(block: &mut Block) -> syn::Result<()> {
    let mut renamer = Renamer(Problems::default());
    renamer.visit_block_mut(block);
    renamer.0.into_result(())
}

struct Renamer(Problems);

impl VisitMut for Renamer {
    fn visit_expr_path_mut(&mut self, path: &mut ExprPath) {
        // `self::name` is a path in this module: it has more segments.
        if path.path.segments.len() == 1 {
            let only = &mut path.path.segments[0];
            only.ident = local_name(&only.ident);
        }
        visit_mut::visit_expr_path_mut(self, path);
    }

    fn visit_macro_mut(&mut self, invocation: &mut Macro) {
        invocation.tokens = self.tokens(std::mem::take(&mut invocation.tokens));
    }

    /// An item in the body has a `self` of its own, or none.
    fn visit_item_mut(&mut self, _: &mut Item) {}
}

impl Renamer {
    /// What a macro is given can't be parsed, only looked through.
    fn tokens(&mut self, tokens: TokenStream) -> TokenStream {
        let mut tokens = tokens.into_iter().peekable();
        let mut renamed = Vec::new();
        while let Some(token) = tokens.next() {
            renamed.push(match token {
                TokenTree::Group(group) => {
                    let mut inner = Group::new(group.delimiter(), self.tokens(group.stream()));
                    inner.set_span(group.span());
                    TokenTree::Group(inner)
                }
                TokenTree::Ident(ident) => {
                    let is_path = matches!(tokens.peek(), Some(TokenTree::Punct(p)) if p.as_char() == ':');
                    TokenTree::Ident(if is_path { ident } else { local_name(&ident) })
                }
                TokenTree::Literal(literal) => {
                    if captures(&literal, "self}") || captures(&literal, "self:") {
                        let message =
                            "`#[cached]` cannot follow `self` into this text; write `{}` and pass `self`";
                        self.0.add(literal.span(), message);
                    }
                    TokenTree::Literal(literal)
                }
                punct @ TokenTree::Punct(_) => punct,
            });
        }
        renamed.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use quote::format_ident;

    use super::*;

    fn renamed(source: &str) -> String {
        let mut block: Block = syn::parse_str(source).unwrap();
        match rename_self(&mut block) {
            Ok(()) => block.to_token_stream().to_string().replace(' ', ""),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn names_are_found_in_code_macros_and_format_strings() {
        for source in [
            "{ id }",
            "{ vec![f(id)] }",
            "{ format!(\"{id:?}\") }",
            "{ format!(\"{x:id$}\", x = 1) }",
            "{ r.get(&id) }",
        ] {
            assert!(mentions(&syn::parse_str(source).unwrap(), &format_ident!("id")), "{source}");
        }
        for source in ["{}", "{ idle }", "{ \"id\" }", "{ format!(\"{width}\") }"] {
            assert!(!mentions(&syn::parse_str(source).unwrap(), &format_ident!("id")), "{source}");
        }
    }

    #[test]
    fn self_is_renamed_where_it_is_the_receiver() {
        assert_eq!(renamed("{ self.db.user(self) }"), "{__larder_receiver.db.user(__larder_receiver)}");
        assert_eq!(renamed("{ vec![self.a, f(self)] }"), "{vec![__larder_receiver.a,f(__larder_receiver)]}");
        assert_eq!(renamed("{ self::db::user() }"), "{self::db::user()}");
        assert_eq!(renamed("{ vec![self::db::ID, Self::ID] }"), "{vec![self::db::ID,Self::ID]}");
    }

    #[test]
    fn an_item_in_the_body_keeps_its_own_self() {
        let item = "{implA{fnf(&self){self.g()}}}";
        assert_eq!(renamed("{ impl A { fn f(&self) { self.g() } } }"), item);
    }

    #[test]
    fn a_self_captured_by_a_format_string_is_refused() {
        for source in
            ["{ format!(\"{self}\") }", "{ format!(\"{self:?}\") }", "{ vec![format!(\"{self}\")] }"]
        {
            assert!(renamed(source).contains("pass `self`"), "{source}");
        }
        assert_eq!(renamed("{ f(\"{self}\") }"), "{f(\"{self}\")}");
    }
}
