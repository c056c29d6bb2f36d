//! How an argument gets into a load, which runs in a task of its own and may outlive the call.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Ident, Lifetime, Token, Type, TypeReference};

/// An argument (or `self`) that can be owned by the load.
pub(crate) struct Argument {
    name: Ident,
    mutability: Option<Token![mut]>,
    owned: Owned,
}

enum Owned {
    /// It is `'static` as it stands: it moves.
    Moved,
    /// It is a reference to this type: the load gets a copy, and the body a reference to the copy.
    Copied(Box<Type>),
}

/// # Errors
/// If the load cannot own an argument of this type.
pub(crate) fn owned_copy_of(
    name: Ident,
    mutability: Option<Token![mut]>,
    ty: &Type,
) -> syn::Result<Argument> {
    let owned = match ty {
        Type::Reference(reference) if !is_static(reference) => {
            if reference.mutability.is_some() {
                return Err(refused(
                    &name,
                    ty,
                    "it may run after the caller has gone on; take `&` or a value",
                ));
            }
            refuse_inner(&name, &reference.elem)?;
            Owned::Copied(reference.elem.clone())
        }
        other => {
            refuse_inner(&name, other)?;
            Owned::Moved
        }
    };
    Ok(Argument { name, mutability, owned })
}

impl Argument {
    pub(crate) fn name(&self) -> &Ident {
        &self.name
    }

    /// In front of the load, in the caller: makes what the load owns.
    pub(crate) fn before(&self) -> TokenStream {
        let (name, local) = (&self.name, self.local());
        match &self.owned {
            // Located at the type, because that is where a missing `Clone` should be complained about.
            Owned::Copied(ty) => quote_spanned! {ty.span()=>
                let #local = <#ty as ::std::borrow::ToOwned>::to_owned(#name);
            },
            Owned::Moved => quote!(let #local = #name;),
        }
    }

    /// In the load, in front of the body: gives the body the name and the type that it was written with.
    pub(crate) fn inside(&self) -> TokenStream {
        let (name, local, mutability) = (crate::body::local_name(&self.name), self.local(), &self.mutability);
        match &self.owned {
            Owned::Copied(ty) => quote! {
                let #mutability #name: &#ty = ::core::borrow::Borrow::<#ty>::borrow(&#local);
            },
            Owned::Moved => quote!(let #mutability #name = #local;),
        }
    }

    fn local(&self) -> Ident {
        quote::format_ident!("__larder_{}", self.name, span = proc_macro2::Span::mixed_site())
    }
}

fn is_static(reference: &TypeReference) -> bool {
    reference.mutability.is_none() && reference.lifetime.as_ref().is_some_and(|l| l.ident == "static")
}

fn refused(name: &Ident, ty: &Type, why: &str) -> syn::Error {
    syn::Error::new(ty.span(), format!("`{name}` cannot be given to the load: {why}"))
}

fn refuse_inner(name: &Ident, ty: &Type) -> syn::Result<()> {
    match ty {
        Type::ImplTrait(_) => {
            let why = "`impl Trait` has no name; write `fn f<T: Trait + Clone + Send + Sync + 'static>(..)`";
            Err(refused(name, ty, why))
        }
        Type::TraitObject(_) => {
            Err(refused(name, ty, "a `dyn` value cannot be copied; take an `Arc<dyn ..>`"))
        }
        _ if borrows(ty) => Err(refused(
            name,
            ty,
            "it runs in a task of its own and owns its arguments, but this type borrows; take an owned one",
        )),
        _ => Ok(()),
    }
}

/// Whether `ty` visibly holds a reference or lifetime other than `'static`.
pub(crate) fn borrows(ty: &Type) -> bool {
    let mut finder = Borrows(false);
    finder.visit_type_mut(&mut ty.clone());
    finder.0
}

struct Borrows(bool);

impl VisitMut for Borrows {
    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        self.0 |= lifetime.ident != "static";
    }

    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        self.0 |= !is_static(reference);
        visit_mut::visit_type_reference_mut(self, reference);
    }

    /// `fn(&str)` and `Fn(&str)` name references that they do not hold.
    fn visit_type_bare_fn_mut(&mut self, _: &mut syn::TypeBareFn) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut syn::ParenthesizedGenericArguments) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(ty: &str) -> syn::Result<Argument> {
        owned_copy_of(quote::format_ident!("x"), None, &syn::parse_str(ty).unwrap())
    }

    #[test]
    fn references_are_copied_and_everything_owned_moves() {
        for ty in ["&str", "&'a str", "&[u8]", "&Tenant", "&Vec<String>", "&(u8, u8)"] {
            assert!(matches!(owned(ty).unwrap().owned, Owned::Copied(_)), "{ty}");
        }
        for ty in ["u64", "String", "Option<u32>", "&'static str", "Arc<dyn Fn(&str) -> u8>", "fn(&str)", "T"]
        {
            assert!(matches!(owned(ty).unwrap().owned, Owned::Moved), "{ty}");
        }
    }

    #[test]
    fn what_a_load_cannot_own_is_refused_with_a_way_out() {
        for (ty, hint) in [
            ("&mut Db", "take `&` or a value"),
            ("impl Into<String>", "fn f<T: Trait"),
            ("&impl Db", "fn f<T: Trait"),
            ("&dyn Db", "Arc<dyn ..>"),
            ("&&str", "take an owned one"),
            ("Option<&str>", "take an owned one"),
            ("Cow<'_, str>", "take an owned one"),
            ("&'static mut Db", "take `&` or a value"),
        ] {
            let problem = owned(ty).err().unwrap().to_string();
            assert!(problem.contains(hint), "{ty}: {problem}");
        }
    }
}
