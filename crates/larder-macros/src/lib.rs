//! The `#[cached]` attribute of [larder](https://docs.rs/larder). Use it from there, as `larder::cached`.
//!
//! Three steps, a file each: `parse` reads the options, `check` judges them and the function together and says all that
//! is wrong at once, `expand` writes the function that looks before it loads.

mod argument;
mod body;
mod check;
mod expand;
mod nearest;
mod parse;
mod period;
mod returns;
mod segments;

use proc_macro::TokenStream;
use quote::{ToTokens, quote};

#[cfg_attr(not(doctest), doc = include_str!("../docs/cached.md"))]
#[proc_macro_attribute]
pub fn cached(options: TokenStream, item: TokenStream) -> TokenStream {
    let written: proc_macro2::TokenStream = item.clone().into();
    expanded(options, item).unwrap_or_else(|problems| {
        // The function stays as it was, so that only what is wrong here is complained about.
        let problems = problems.into_compile_error();
        quote!(#problems #[allow(unused_variables)] #written).into()
    })
}

fn expanded(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let function = syn::parse(item).map_err(|problem| {
        let message = format!("`#[cached]` belongs on an async function with a body ({problem})");
        syn::Error::new(problem.span(), message)
    })?;
    let options = syn::parse(options)?;
    Ok(check::Plan::new(options, function)?.into_token_stream().into())
}
