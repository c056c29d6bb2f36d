//! How numbers are shown to people.

/// A part of one as a percentage, to two digits.
pub(super) fn percent(rate: f64) -> f64 {
    rounded(rate * 1e2, 2)
}

/// To so many digits after the point.
pub(super) fn rounded(number: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (number * unit).round() / unit
}

/// As a number with a point. Above 2⁵³ the last digits go.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(super) fn ratio(number: u64) -> f64 {
    number as f64
}

/// Bytes in MiB, to three digits.
pub(super) fn mebibytes(bytes: u64) -> f64 {
    rounded(ratio(bytes) / f64::from(1 << 20), 3)
}
