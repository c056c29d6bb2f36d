//! Durations as the whole product writes them: `250ms`, `30s`, `5m`, `1h`, `1d`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, ExprLit, Lit};

/// `larder`'s `MAX_KEEP` in milliseconds: what is beyond it would be refused by every call.
const LONGEST: u64 = 30 * 86_400_000;

/// A duration, either known while compiling or an expression that yields a `std::time::Duration`.
pub(crate) enum Period {
    Fixed { millis: u64, span: Span },
    Computed(Expr),
}

impl Period {
    /// # Errors
    /// If `written` is a literal that is no duration.
    pub(crate) fn new(written: Expr) -> syn::Result<Self> {
        let Expr::Lit(ExprLit { lit, .. }) = &written else { return Ok(Period::Computed(written)) };
        let span = lit.span();
        match lit {
            Lit::Str(text) => match millis(&text.value()) {
                Ok(millis) => Ok(Period::Fixed { millis, span }),
                Err(problem) => Err(syn::Error::new(span, problem)),
            },
            Lit::Int(number) => {
                let hint =
                    format!("a duration needs a unit: `\"{0}s\"` or `\"{0}ms\"`", number.base10_digits());
                Err(syn::Error::new(span, hint))
            }
            _ => {
                Err(syn::Error::new(span, "expected a duration such as `\"5m\"`, or a `Duration` expression"))
            }
        }
    }

    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Period::Fixed { .. })
    }
}

impl ToTokens for Period {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(match self {
            Period::Fixed { millis, span } => {
                quote_spanned!(*span=> ::core::time::Duration::from_millis(#millis))
            }
            Period::Computed(expr) => quote!(#expr),
        });
    }
}

/// Milliseconds of `text`, or what is wrong with it.
fn millis(text: &str) -> Result<u64, String> {
    let form =
        || format!("`{text}` is no duration; write a whole number and ms, s, m, h or d: \"250ms\", \"5m\"");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?;
    let (number, unit) = text.split_at(unit_at);
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(form()),
    };
    if number.is_empty() {
        return Err(form());
    }
    match number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)) {
        Some(0) => {
            Err(format!("`{text}` is no time at all; leave the attribute out if nothing is to be kept"))
        }
        Some(millis) if millis <= LONGEST => Ok(millis),
        Some(_) | None => Err(format!("`{text}` is longer than 30 days, the longest that an entry is kept")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_read() {
        for (text, expected) in [
            ("1ms", 1),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_the_accepted_form() {
        for text in ["", "5", "m", "5 m", "-5m", "5min", "1.5h", "5m ", "٥m", "1h30m"] {
            let problem = millis(text).unwrap_err();
            assert!(problem.contains("write a whole number and ms, s, m, h or d"), "{text:?}: {problem}");
        }
    }

    #[test]
    fn nothing_and_for_ever_are_refused() {
        assert!(millis("0s").unwrap_err().contains("no time at all"));
        assert_eq!(millis("30d"), Ok(LONGEST));
        for text in ["2592000001ms", &format!("{}s", u64::MAX), "99999999999999999999ms"] {
            assert!(millis(text).unwrap_err().contains("longer than 30 days"), "{text}");
        }
    }

    #[test]
    fn a_number_without_unit_gets_a_hint_and_an_expression_passes() {
        let problem = |source: &str| Period::new(syn::parse_str(source).unwrap()).err().unwrap().to_string();
        assert_eq!(problem("300"), "a duration needs a unit: `\"300s\"` or `\"300ms\"`");
        assert!(problem("true").starts_with("expected a duration"));
        assert!(!Period::new(syn::parse_str("config.ttl").unwrap()).unwrap().is_fixed());
    }
}
