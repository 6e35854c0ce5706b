//! Conversations in the shape that everybody's JSON has: messages, tool calls, tools.

use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions from the operator.
    #[serde(alias = "developer")]
    System,
    /// What the person or program asks.
    User,
    /// What the model answered earlier.
    Assistant,
    /// Result of a tool call.
    #[serde(alias = "function")]
    Tool,
}

/// One turn of a conversation, as an element of `OpenAI`'s `messages` array.
///
/// ```
/// use fathom::Message;
///
/// let message: Message = serde_json::from_str(r#"{"role": "user", "content": "Hello"}"#)?;
/// assert_eq!(message, Message::user("Hello"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What was said; never parsed for control tokens. `None` where an assistant only calls tools.
    #[serde(default)]
    pub content: Option<String>,
    /// Assistant: the reasoning before the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Assistant: the tools it wants called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Tool: the call that this is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl Message {
    fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: Some(content.into()),
            reasoning_content: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
        }
    }

    /// Instructions from the operator.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }

    /// What the person or program asks.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// What the model answered earlier.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// The result of a tool call.
    pub fn tool(tool_call_id: impl Into<String>, content: impl Into<String>) -> Self {
        Self { tool_call_id: Some(tool_call_id.into()), ..Self::new(Role::Tool, content) }
    }

    /// The same message with the reasoning before its content.
    #[must_use]
    pub fn with_reasoning(self, reasoning: impl Into<String>) -> Self {
        Self { reasoning_content: Some(reasoning.into()), ..self }
    }
}

/// A call of a tool that the model asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Names the call, for the message with its result.
    #[serde(default)]
    pub id: String,
    /// The kind of tool; there is only `function`.
    #[serde(rename = "type", default = "function")]
    pub kind: String,
    /// What is called.
    pub function: FunctionCall,
}

impl ToolCall {
    /// A call of a function with its arguments as JSON text.
    pub fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        arguments: impl Into<String>,
    ) -> Self {
        let call = FunctionCall { name: name.into(), arguments: arguments.into() };
        Self { id: id.into(), kind: function(), function: call }
    }
}

/// The name and arguments of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// The arguments as the model wrote them: JSON text, which may be wrong.
    pub arguments: String,
}

/// A tool that a model may call, as an element of `OpenAI`'s `tools` array.
///
/// Fathom 1.0 has no call that renders tools; a host puts them into its system message, as its
/// release was trained to read them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// The kind of tool; there is only `function`.
    #[serde(rename = "type", default = "function")]
    pub kind: String,
    /// What can be called.
    pub function: Function,
}

impl Tool {
    /// A function with the JSON schema of its arguments.
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        parameters: serde_json::Value,
    ) -> Self {
        let (name, description) = (name.into(), Some(description.into()));
        let function = Function { name, description, parameters: Some(parameters) };
        Self { kind: self::function(), function }
    }
}

/// The declaration of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<serde_json::Value>,
}

fn function() -> String {
    "function".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A gateway would lose or rename a field of its clients' conversations.
    #[test]
    fn messages_and_tools_survive_a_round_trip() {
        let call = ToolCall::new("call-1", "weather", r#"{"city":"Oslo"}"#);
        let asked = Message { content: None, tool_calls: vec![call], ..Message::assistant("") };
        let wanted = json!([
            {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [{
                "id": "call-1", "type": "function",
                "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"},
            }]},
            {"role": "tool", "content": "rain", "tool_call_id": "call-1"},
        ]);
        let messages = [asked.with_reasoning("hm"), Message::tool("call-1", "rain")];
        assert_eq!(serde_json::to_value(&messages).unwrap(), wanted);
        assert_eq!(serde_json::from_value::<Vec<Message>>(wanted).unwrap(), messages);

        let tool = Tool::new("weather", "Looks outside.", json!({"type": "object"}));
        let wanted = json!({"type": "function", "function": {
            "name": "weather", "description": "Looks outside.", "parameters": {"type": "object"},
        }});
        assert_eq!(serde_json::to_value(&tool).unwrap(), wanted);
        assert_eq!(serde_json::from_value::<Tool>(wanted).unwrap(), tool);
    }
}
