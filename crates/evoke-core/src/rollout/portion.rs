//! A part of a whole, as people write it: `5%`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// From `0%` to `100%`, in millionths: exact, so that what was written is what is shown. Text in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Portion(u32);

const WHOLE: u32 = 1_000_000;
const PERCENT: u32 = WHOLE / 100;

impl Portion {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// All of it.
    pub const ALL: Self = Self(WHOLE);

    /// So many hundredths, at most all of them.
    pub const fn percent(percent: u32) -> Self {
        if percent >= 100 { Self::ALL } else { Self(percent * PERCENT) }
    }

    /// In millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// Between 0 and 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }
}

impl FromStr for Portion {
    type Err = String;

    /// Reads `5%` or `0.25%`: at most four places, which is a millionth.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let is_bare = text.parse::<f64>().is_ok_and(|number| (0.0..=100.0).contains(&number));
            let form = if is_bare { format!("\"{text}%\"") } else { r#""5%" or "0.5%""#.to_owned() };
            format!("{text:?} is no part of a whole; write it as {form}, from 0% to 100%")
        };
        let number = text.trim().strip_suffix('%').ok_or_else(wrong)?.trim();
        let (whole, places) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let is_number = !whole.is_empty() && digits(whole) && digits(places) && places.len() <= 4;
        if !is_number || number.ends_with('.') {
            return Err(wrong());
        }
        let places: u32 = format!("{places:0<4}").parse().map_err(|_| wrong())?;
        let whole: u32 = whole.parse().ok().filter(|whole| *whole <= 100).ok_or_else(wrong)?;
        let portion = whole * PERCENT + places;
        if portion <= WHOLE { Ok(Self(portion)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, places) = (self.0 / PERCENT, self.0 % PERCENT);
        if places == 0 {
            return write!(f, "{whole}%");
        }
        let places = format!("{places:04}");
        write!(f, "{whole}.{}%", places.trim_end_matches('0'))
    }
}

impl Serialize for Portion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Portion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn people_write_percent_and_nothing_else() {
        let read = |text: &str| text.parse::<Portion>().map(Portion::millionths).ok();
        assert_eq!(
            ["5%", " 0.5 %", "100%", "0%", "33.3333%"].map(read),
            [Some(50_000), Some(5_000), Some(1_000_000), Some(0), Some(333_333)]
        );
        let wrong =
            ["5", "", "%", "-1%", "+5%", "100.1%", "101%", "1.%", ".5%", "0.00001%", "1e1%", "4294967301%"];
        assert_eq!(wrong.map(read), [None; 12]);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_as_the_same(millionths in 0..=WHOLE) {
            let portion = Portion(millionths);
            prop_assert_eq!(portion.to_string().parse(), Ok(portion));
        }
    }
}
