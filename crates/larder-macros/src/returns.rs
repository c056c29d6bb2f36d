//! What a cached function returns: the type as written, and the type that callers see.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{GenericArgument, PathArguments, PathSegment, ReturnType, Signature, Type};

use crate::argument::borrows;

/// A return type `Result<T, E>`, or an alias of one that still names `T`.
pub(crate) struct Returns {
    /// `Result<T, E>`: what the body evaluates to.
    pub(crate) written: Type,
    /// `Result<Arc<T>, E>`: what callers get.
    pub(crate) outer: Type,
    /// `T`, or the type inside its `Option`.
    pub(crate) value: Type,
    /// `T` is an `Option`: absence is an answer, and callers get `Result<Option<Arc<..>>, E>`.
    pub(crate) optional: bool,
    /// Where the error type stands, for the complaint that it lacks `From<larder::Error>`.
    pub(crate) error: Span,
}

impl Returns {
    /// # Errors
    /// If the signature returns something that cannot be cached.
    pub(crate) fn new(signature: &Signature) -> syn::Result<Self> {
        let ReturnType::Type(_, written) = &signature.output else {
            return Err(no_result(signature.ident.span()));
        };
        let mut outer = written.clone();
        let Some((value, error)) = result_arguments(&mut outer) else {
            return Err(no_result(written.span()));
        };
        let optional = sole_argument_of("Option", value).is_some();
        let place = match optional {
            true => sole_argument_of("Option", value).expect("it was found a line above"),
            false => value,
        };
        let value = place.clone();
        if borrows(&value) {
            let message = "a cached value outlives the call, but this type borrows; return an owned one";
            return Err(syn::Error::new(value.span(), message));
        }
        if sole_argument_of("Arc", &mut value.clone()).is_some() {
            let message = "`#[cached]` adds the `Arc` itself: return the value, callers get an `Arc` of it";
            return Err(syn::Error::new(value.span(), message));
        }
        *place = syn::parse_quote!(::std::sync::Arc<#value>);
        Ok(Returns { written: (**written).clone(), outer: *outer, value, optional, error })
    }
}

fn no_result(span: Span) -> syn::Error {
    let message = "`#[cached]` works on functions that return `Result<T, E>` with `E: From<larder::Error>`: \
                   a load can time out, and it can fail for those who wait for it";
    syn::Error::new(span, message)
}

/// The first argument of a type that is called `..Result<T, ..>`, and the place of its second one.
fn result_arguments(ty: &mut Type) -> Option<(&mut Type, Span)> {
    let whole = ty.span();
    let segment = last_segment(ty)?;
    if !segment.ident.to_string().ends_with("Result") {
        return None;
    }
    let mut types = type_arguments(segment);
    let value = types.next()?;
    let error = types.next().map_or(whole, |error| error.span());
    Some((value, error))
}

fn sole_argument_of<'a>(name: &str, ty: &'a mut Type) -> Option<&'a mut Type> {
    let segment = last_segment(ty)?;
    if segment.ident != name {
        return None;
    }
    let mut types = type_arguments(segment);
    let only = types.next()?;
    types.next().is_none().then_some(only)
}

fn last_segment(ty: &mut Type) -> Option<&mut PathSegment> {
    match ty {
        Type::Path(path) if path.qself.is_none() => path.path.segments.last_mut(),
        Type::Paren(inner) => last_segment(&mut inner.elem),
        Type::Group(inner) => last_segment(&mut inner.elem),
        _ => None,
    }
}

fn type_arguments(segment: &mut PathSegment) -> impl Iterator<Item = &mut Type> {
    let arguments = match &mut segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(arguments.args.iter_mut()),
        PathArguments::None | PathArguments::Parenthesized(_) => None,
    };
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;

    use super::*;

    fn returns(output: &str) -> syn::Result<Returns> {
        Returns::new(&syn::parse_str(&format!("async fn f() {output}")).unwrap())
    }

    fn outer(output: &str) -> String {
        returns(output)
            .map_or_else(|e| e.to_string(), |r| r.outer.to_token_stream().to_string().replace(' ', ""))
    }

    #[test]
    fn the_value_is_wrapped_where_it_stands() {
        for (written, seen) in [
            ("-> Result<User, DbError>", "Result<::std::sync::Arc<User>,DbError>"),
            ("-> Result<Vec<User>, E>", "Result<::std::sync::Arc<Vec<User>>,E>"),
            ("-> anyhow::Result<User>", "anyhow::Result<::std::sync::Arc<User>>"),
            ("-> DbResult<()>", "DbResult<::std::sync::Arc<()>>"),
            ("-> Result<Option<User>, E>", "Result<Option<::std::sync::Arc<User>>,E>"),
            ("-> Result<std::option::Option<u8>, E>", "Result<std::option::Option<::std::sync::Arc<u8>>,E>"),
        ] {
            assert_eq!(outer(written), seen, "{written}");
        }
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for written in ["", "-> User", "-> Option<User>", "-> io::Error", "-> Result", "-> (u8, u8)"] {
            assert!(outer(written).contains("return `Result<T, E>`"), "{written}: {}", outer(written));
        }
    }

    #[test]
    fn a_borrowing_value_and_a_second_arc_are_refused() {
        assert!(outer("-> Result<&str, E>").contains("outlives the call"));
        assert!(outer("-> Result<Option<Cow<'_, str>>, E>").contains("outlives the call"));
        assert!(outer("-> Result<Arc<User>, E>").contains("adds the `Arc` itself"));
        assert!(outer("-> Result<Option<std::sync::Arc<User>>, E>").contains("adds the `Arc` itself"));
    }
}
