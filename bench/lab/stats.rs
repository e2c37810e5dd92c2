//! Medians and how they are written.

use std::time::Duration;

/// Whether this is the short form, which shows that everything works and measures little.
pub fn short() -> bool {
    std::env::var("BENCH_SHORT").is_ok_and(|word| word != "0" && !word.is_empty())
}

/// The one of the two that this form of the run wants.
pub fn by_form<T>(short_form: T, whole: T) -> T {
    if short() {
        short_form
    } else {
        whole
    }
}

/// Values of one thing, measured again and again.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// One more value.
    pub fn add(&mut self, value: f64) {
        let place = self.0.partition_point(|other| *other < value);
        self.0.insert(place, value);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that this part of all is not above; `None` if there is none.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        self.0.get((last as f64 * part).round() as usize).copied()
    }

    /// The middle one.
    pub fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// From the first to the third quartile, as a part of the median.
    pub fn spread(&self) -> f64 {
        let range = self.quantile(0.75).zip(self.quantile(0.25)).map(|(high, low)| high - low);
        range.zip(self.median()).map_or(0.0, |(range, median)| range / median)
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Sample {
        let mut sample = Sample(values.into_iter().collect());
        sample.0.sort_unstable_by(f64::total_cmp);
        sample
    }
}

/// A number in three digits or more, `–` for none.
pub fn figure(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value.abs() >= 100.0 => {
            let digits = format!("{value:.0}");
            let mut out = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place) % 3 == 0 && digit.is_ascii_digit() {
                    out.push(',');
                }
                out.push(digit);
            }
            out
        }
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// How many times `other` is `value`.
pub fn ratio(other: Option<f64>, value: Option<f64>) -> Option<f64> {
    other.zip(value).filter(|(_, value)| *value > 0.0).map(|(other, value)| other / value)
}

/// A ratio as it is written: `12.3 ×`.
pub fn times(other: Option<f64>, value: Option<f64>) -> String {
    ratio(other, value).map_or("–".into(), |ratio| format!("{} ×", figure(Some(ratio))))
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
