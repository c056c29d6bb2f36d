//! Third step: the function that looks before it loads.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, FnArg, Ident, ItemFn, Lit, Pat, ReturnType, Token};

use crate::argument::Argument;
use crate::check::{Place, Plan, Policy};

impl ToTokens for Plan {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let ItemFn { attrs, vis, .. } = &self.function;
        let signature = self.signature();
        let (tenant, key, policy) = (self.place.tenant(), self.key(), self.policy());
        let load = self.load();
        let (method, found) = match self.returns.optional {
            true => ("fetch_opt_prepared", quote!(|(value, _)| value)),
            false => ("fetch_prepared", quote!(|found| found.value)),
        };
        // Located at the type, because that is where what cannot be cached should be complained about.
        let method = Ident::new(method, at(&self.returns.value));
        let error = quote_spanned! {self.returns.error.resolved_at(Span::mixed_site())=>
            .map_err(|error| ::core::convert::From::from(error))
        };
        tokens.extend(quote_spanned! {Span::mixed_site()=>
            #(#attrs)*
            #vis #signature {
                #tenant
                #key
                #policy
                let loaded = tenant.#method(key, policy, || #load).await;
                loaded.map(#found)#error
            }
        });
    }
}

impl Plan {
    /// As written, but what callers get is shared. A `mut` belongs to the body's copy of an argument.
    fn signature(&self) -> syn::Signature {
        let mut signature = self.function.sig.clone();
        for input in &mut signature.inputs {
            match input {
                FnArg::Receiver(receiver) if receiver.reference.is_none() => receiver.mutability = None,
                FnArg::Receiver(_) => {}
                FnArg::Typed(typed) => {
                    if let Pat::Ident(pat) = &mut *typed.pat {
                        pat.mutability = None;
                    }
                }
            }
        }
        signature.output = ReturnType::Type(<Token![->]>::default(), Box::new(self.returns.outer.clone()));
        signature
    }

    /// `larder::key!`, written out: so the compiler complains about the segment that is none.
    fn key(&self) -> TokenStream {
        let segments = self.key.iter().map(|segment| quote_spanned!(at(segment)=> .with(&(#segment))));
        quote_spanned!(Span::mixed_site()=> let key = ::larder::Key::empty()#(#segments)*;)
    }

    /// What does not depend on the call is built once.
    fn policy(&self) -> TokenStream {
        let here = Span::mixed_site();
        let (fixed, computed): (Vec<&Expr>, Vec<&Expr>) = self.tags.iter().partition(|tag| is_text(tag));
        let (base, added) = match &self.policy {
            Policy::Given(given) => {
                (bound("policy", &quote!(::larder::Policy), given), self.tags.iter().collect())
            }
            Policy::Built { ttl, more } => {
                let (names, periods): (Vec<_>, Vec<_>) =
                    more.iter().map(|(name, period)| (Ident::new(name, here), period)).unzip();
                let is_fixed = ttl.is_fixed() && periods.iter().all(|period| period.is_fixed());
                let built = quote_spanned! {here=>
                    ::larder::Policy::ttl(#ttl)#(.#names(#periods))*#(.tag(#fixed))*
                };
                let policy = if is_fixed { once(&built) } else { quote_spanned!(here=> &#built) };
                (quote_spanned!(here=> let policy: &::larder::Policy = #policy;), computed)
            }
        };
        match added.is_empty() {
            true => base,
            false => quote_spanned! {here=>
                #base
                let policy = &::core::clone::Clone::clone(policy)#(.tag(#added))*;
            },
        }
    }

    /// The body as a loader that owns all it needs. It is made, and copies are, only where a load may be needed.
    fn load(&self) -> TokenStream {
        let before = self.captured.iter().map(Argument::before);
        let inside = self.captured.iter().map(Argument::inside);
        let (written, body) = (&self.returns.written, &self.body);
        quote_spanned! {Span::mixed_site()=> {
            #(#before)*
            move || async move {
                // Tells the compiler the type of every `return` and `?` of the body.
                #[allow(unreachable_code, clippy::diverging_sub_expression)]
                if let ::core::option::Option::Some(never) = ::core::option::Option::None::<#written> {
                    return never;
                }
                #(#[allow(unused_variables)] #inside)*
                let loaded: #written = #body;
                loaded
            }
        }}
    }
}

impl Place {
    fn tenant(&self) -> TokenStream {
        let cache = |cache| bound("cache", &quote!(::larder::Cache), cache);
        match self {
            Place::Tenant(tenant) => bound("tenant", &quote!(::larder::Tenant), tenant),
            Place::Named { cache: expr, tenant } => {
                let cache = cache(expr);
                quote_spanned!(at(tenant)=> #cache let tenant = &cache.tenant(&(#tenant));)
            }
            Place::Shared(expr) => {
                let cache = cache(expr);
                quote_spanned!(Span::mixed_site()=> #cache let tenant = &cache.shared();)
            }
        }
    }
}

/// `name` as a reference to a `ty`, out of an expression that is one, or a reference or pointer to one.
fn bound(name: &str, ty: &TokenStream, written: &Expr) -> TokenStream {
    let name = Ident::new(name, Span::mixed_site());
    quote_spanned! {at(written)=>
        let written = &(#written);
        let #name: &#ty = written;
    }
}

/// Where `written` stands, for what the compiler may say about it; the names around it stay our own.
fn at(written: &impl ToTokens) -> Span {
    written.span().resolved_at(Span::mixed_site())
}

/// A reference to a policy that is built at the first call.
fn once(policy: &TokenStream) -> TokenStream {
    quote_spanned! {Span::mixed_site()=> {
        static POLICY: ::std::sync::LazyLock<::larder::Policy> = ::std::sync::LazyLock::new(|| #policy);
        &POLICY
    }}
}

/// Whether a tag is the same on every call.
fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Lit(ExprLit { lit: Lit::Str(_), .. }))
}
