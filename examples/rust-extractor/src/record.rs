//! What a document may become, and the checks that an answer has to pass.

use serde::{Deserialize, Serialize};

/// One validated record; unknown, missing or mistyped fields are no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Record {
    Order {
        id: Option<String>,
        customer: String,
        item: String,
        quantity: u32,
        date: Option<String>,
    },
    Ticket {
        id: Option<String>,
        customer: String,
        product: String,
        priority: Option<Priority>,
        date: Option<String>,
    },
    Invoice {
        id: Option<String>,
        company: String,
        amount: String,
        currency: Currency,
        due: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    Low,
    Normal,
    High,
    Urgent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    Usd,
    Eur,
    Gbp,
}

impl Record {
    /// Parses an answer and checks it against the document that it claims to be about. The reason
    /// says which field is wrong.
    pub fn from_answer(answer: &str, document: &str) -> Result<Self, String> {
        let record: Self = serde_json::from_str(answer).map_err(|error| error.to_string())?;
        record.check(document)?;
        Ok(record)
    }

    /// A model may invent. What is copied from a document has to stand in it.
    fn check(&self, document: &str) -> Result<(), String> {
        let stands = |field: &str, value: &str| {
            if !value.is_empty() && document.contains(value) {
                return Ok(());
            }
            Err(format!("{field}: {value:?} does not stand in the document"))
        };
        let may_stand =
            |field: &str, value: Option<&str>| value.map_or(Ok(()), |value| stands(field, value));
        match self {
            Self::Order { id, customer, item, quantity, date } => {
                may_stand("id", id.as_deref())?;
                stands("customer", customer)?;
                stands("item", item)?;
                stands("quantity", &quantity.to_string())?;
                check_date("date", date.as_deref(), document)
            }
            Self::Ticket { id, customer, product, priority: _, date } => {
                may_stand("id", id.as_deref())?;
                stands("customer", customer)?;
                stands("product", product)?;
                check_date("date", date.as_deref(), document)
            }
            Self::Invoice { id, company, amount, currency, due } => {
                may_stand("id", id.as_deref())?;
                stands("company", company)?;
                check_amount(amount, document)?;
                let names = match currency {
                    Currency::Usd => ["USD", "$"],
                    Currency::Eur => ["EUR", "€"],
                    Currency::Gbp => ["GBP", "£"],
                };
                if !names.iter().any(|name| document.contains(name)) {
                    return Err(format!("currency: neither of {names:?} stands in the document"));
                }
                check_date("due", due.as_deref(), document)
            }
        }
    }
}

/// A day that there is, as `2027-04-15`, and that the document names.
fn check_date(field: &str, date: Option<&str>, document: &str) -> Result<(), String> {
    let Some(date) = date else { return Ok(()) };
    let mut parts = date.split('-').map(|part| part.parse::<u32>().ok());
    let is_day = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Some(year)), Some(Some(month @ 1..=12)), Some(Some(day @ 1..)), None) => {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            date.len() == 10 && day <= days
        }
        _ => false,
    };
    if is_day && document.contains(date) {
        return Ok(());
    }
    Err(format!("{field}: {date:?} is no day that stands in the document"))
}

/// Digits, a point and two digits, which the document may write with commas between thousands.
fn check_amount(amount: &str, document: &str) -> Result<(), String> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_amount = amount
        .split_once('.')
        .is_some_and(|(whole, cents)| digits(whole) && digits(cents) && cents.len() == 2);
    if is_amount && document.replace(',', "").contains(amount) {
        return Ok(());
    }
    Err(format!("amount: {amount:?} is no amount that stands in the document"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVOICE: &str = r#"{"type":"invoice","id":"INV-52","company":"Wagard Works",
        "amount":"9536.13","currency":"USD","due":"2028-02-29"}"#;
    const DOCUMENT: &str = "Wagard Works owes us $9,536.13. See INV-52. Due on 2028-02-29.";

    /// A record that its document does not bear out would be sold as a fact.
    #[test]
    fn what_the_document_does_not_say_is_refused() {
        Record::from_answer(INVOICE, DOCUMENT).unwrap();
        for (from, to, field) in [
            ("Wagard", "Wagner", "company"),
            ("9536.13", "536.1", "amount"),
            ("9536.13", "9536.31", "amount"),
            ("USD", "GBP", "currency"),
            ("2028-02-29", "2027-02-29", "due"),
            ("INV-52", "INV-53", "id"),
        ] {
            let reason = Record::from_answer(&INVOICE.replace(from, to), DOCUMENT).unwrap_err();
            assert!(reason.starts_with(field), "{reason}");
        }
        // The day has to exist even where the document names it.
        let there = DOCUMENT.replace("2028", "2027");
        Record::from_answer(&INVOICE.replace("2028", "2027"), &there).unwrap_err();
    }

    /// A field that nobody knows, or that is missing, would go through.
    #[test]
    fn other_shapes_are_refused() {
        for (from, to) in [
            ("\"due\"", "\"until\""),
            ("invoice", "letter"),
            ("\"id\"", "\"x\":1,\"id\""),
            ("}", ""),
        ] {
            Record::from_answer(&INVOICE.replace(from, to), DOCUMENT).unwrap_err();
        }
    }
}
