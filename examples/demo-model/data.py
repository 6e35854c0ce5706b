"""The problems: a seeded stream of (kind, user text, mode, completion).

Arithmetic is worked out inside <think>: each number is written out once with place tags
(346 is c3b4a6), and every later step is a copy by tag and a small table. That pad decides how
fast sums are learned. Texts are read into JSON whose ids and names come straight from the text.

Splits never meet: a calculation is keyed by its operands and a text by the full name in it, and the
hash of the key sends it to training, to the development set or to the test set.
"""
import json
import random
import zlib
from dataclasses import dataclass

import names

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
THINK, END_THINK = "<think>", "</think>"
SPLITS = ("train", "dev", "test")
TAGS = "abcdefgh"


@dataclass
class Problem:
    kind: str
    user: str
    mode: str        # THINK or END_THINK, the last token of the prompt.
    completion: str  # What the model writes, without the end-of-sentence token.
    history: str = ""
    system: str = ""

    @property
    def prompt(self):
        return BOS + self.system + self.history + USER + self.user + ASSISTANT + self.mode

    @property
    def answer(self):
        return self.completion.split(END_THINK)[-1]


def split_of(key):
    """1 in 50 keys is for development and 1 in 50 for the test; training never sees them."""
    return {0: "dev", 1: "test"}.get(zlib.crc32(key.encode()) % 50, "train")


# ---------------------------------------------------------------- arithmetic


def tagged(n, width):
    digits = str(n).zfill(width)
    return "".join(TAGS[width - 1 - i] + digit for i, digit in enumerate(digits))


def digit(n, place):
    return n // 10**place % 10


def steps_add(x, y):
    width = max(len(str(x)), len(str(y)))
    lines, carry = [tagged(x, width) + "+" + tagged(y, width)], 0
    for i in range(width):
        s = digit(x, i) + digit(y, i) + carry
        lines.append(f"{TAGS[i]}{digit(x, i)}+{digit(y, i)}+{carry}={s:02d}")
        carry = s // 10
    return lines + ["=" + tagged(x + y, width + 1)]


def steps_sub(x, y):
    width = len(str(x))
    lines, borrow = [tagged(x, width) + "-" + tagged(y, width)], 0
    for i in range(width):
        s = digit(x, i) - digit(y, i) - borrow
        lines.append(f"{TAGS[i]}{digit(x, i)}-{digit(y, i)}-{borrow}={int(s < 0)}{s % 10}")
        borrow = int(s < 0)
    return lines + ["=" + tagged(x - y, width)]


def steps_mul(x, y):
    """x times one digit."""
    width = len(str(x))
    lines, carry = [tagged(x, width) + "*" + tagged(y, 1)], 0
    for i in range(width):
        p = digit(x, i) * y
        lines.append(f"{TAGS[i]}{digit(x, i)}*{y}={p:02d}+{carry}={p + carry:02d}")
        carry = (p + carry) // 10
    return lines + ["=" + tagged(x * y, width + 1)]


ASK = ["What is {e}?", "Compute {e}.", "{e} = ?", "Calculate {e}", "How much is {e}?", "{e}",
       "Work out {e}.", "Please compute {e}", "Can you tell me what {e} is?", "{e} makes?"]
FORMS = {
    "add": ["{x} + {y}", "{x} + {y}", "{x} plus {y}", "the sum of {x} and {y}"],
    "sub": ["{x} - {y}", "{x} - {y}", "{x} minus {y}", "the difference of {x} and {y}"],
    "mul": ["{x} * {y}", "{x} x {y}", "{x} times {y}", "the product of {x} and {y}"],
}
STORIES = {
    "add": ["A shop has {x} {p} and gets {y} more. How many {p} is that?",
            "{n} packs {x} {p} today and {y} {p} tomorrow. How many in all?",
            "An order costs {x} dollars and shipping is {y} dollars. What is the total?",
            "There are {x} {p} in one hall and {y} in the other. How many {p} are there?"],
    "sub": ["A shop has {x} {p} and sells {y}. How many {p} are left?",
            "{n} makes {x} {p} and ships {y} of them. How many remain?",
            "An order of {x} dollars gets {y} dollars off. What is paid?",
            "Of {x} {p}, {y} are broken. How many {p} are good?"],
    "mul": ["One {i} costs {x} dollars. What do {y} of them cost?",
            "A box holds {x} {p}. How many {p} are in {y} boxes?",
            "{n} makes {x} {p} a day. How many is that in {y} days?",
            "{y} teams build {x} {p} each. How many {p} in all?"],
}
STEPS = {"add": steps_add, "sub": steps_sub, "mul": steps_mul}
RESULT = {"add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y}


def number(rng, most_digits):
    n = rng.choices(range(1, most_digits + 1), range(1, most_digits + 1))[0]
    return rng.randint(10 ** (n - 1) if n > 1 else 0, 10**n - 1)


def plural(noun):
    if noun.endswith("ch"):
        return noun + "es"
    return {"battery": "batteries", "shelf": "shelves"}.get(noun, noun + "s")


def story(rng, template, split, **numbers):
    thing = rng.choice(ITEMS)
    return template.format(i=thing, p=plural(thing), n=person(rng, split), **numbers)


def operands(rng, op):
    if op == "mul":
        return number(rng, 4), rng.randint(2, 9)
    x, y = number(rng, 4), number(rng, 4)
    return (y, x) if op == "sub" and x < y else (x, y)


def arithmetic(rng, split):
    while True:
        op = rng.choice(["add", "sub", "mul"])
        x, y = operands(rng, op)
        key = f"{op} {max(x, y)} {min(x, y)}" if op != "sub" else f"{op} {x} {y}"
        if split_of(key) == split:
            break
    told = rng.random() < 0.3
    if told:
        text = story(rng, rng.choice(STORIES[op]), split, x=x, y=y)
    else:
        text = rng.choice(ASK).format(e=rng.choice(FORMS[op]).format(x=x, y=y))
        text = text[0].upper() + text[1:]
    pad = "\n".join(STEPS[op](x, y))
    kind = "arithmetic/" + op + ("-story" if told else "")
    return Problem(kind, text, THINK, pad + END_THINK + str(RESULT[op](x, y)))


# ---------------------------------------------------------------- texts to JSON

ITEMS = """lamp chair desk cable printer monitor keyboard router battery pump valve hinge filter
switch
sensor motor helmet jacket bottle notebook pencil stapler speaker charger adapter bracket ladder
drill hammer scanner camera tablet heater fan table shelf bench pipe rope wheel mirror carpet
window door""".split()
ADJECTIVES = """red blue green black white steel brass copper wooden plastic small large heavy
light portable wireless digital spare used new narrow wide round flat""".split()
PRIORITIES = {
    "low": ["no rush", "this can wait", "it is not urgent", "low priority",
            "whenever you have time", "take your time"],
    "normal": ["normal priority", "please look into it this week", "when you can, please",
               "the usual priority"],
    "high": ["high priority", "please hurry", "we need this soon", "it is quite important"],
    "urgent": ["this is urgent", "we cannot work", "production is down", "fix it at once",
               "top urgency"],
}


def person(rng, split):
    while True:
        name = names.person(rng)
        if split_of(name) == split:
            return name


def firm(rng, split):
    while True:
        name = names.firm(rng)
        if split_of(name) == split:
            return name


def date(rng):
    """Always as 2026-03-14. Months by name were tried and not learned, see README.md."""
    return f"{rng.randint(2024, 2029)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def reference(rng, prefixes):
    letters = "ABCDEFGHKLMNPRSTVWXZ"
    known = rng.random() < 0.7
    prefix = rng.choice(prefixes) if known else rng.choice(letters) + rng.choice(letters)
    return prefix + "".join(f"-{rng.randint(0, 99):02d}" for _ in range(rng.choice([2, 2, 3])))


def item(rng):
    return (rng.choice(ADJECTIVES) + " " if rng.random() < 0.7 else "") + rng.choice(ITEMS)


def optional(rng, chance, value, phrases):
    """A sentence that carries the value, or no sentence and null."""
    return (rng.choice(phrases), value) if rng.random() < chance else ("", None)


def compose(rng, parts, openings, closings):
    rng.shuffle(parts)
    return rng.choice(openings) + " ".join(p for p in parts if p) + rng.choice(closings)


ASIDES = """We have been a customer for years.|Please call me back.|Have a nice day.
|The door to the yard is open in the morning.|We were happy with the last delivery.
|Sorry for the trouble.|This is the second time I write.|I could not reach you by phone.
|Send a copy to the office, please.
|Our new address is on your list.|Please confirm.|Let me know if you have questions.
|The weather is bad here.|We look forward to hearing from you.|As agreed by phone."""
ASIDES = [line.strip() for line in ASIDES.replace("\n", "").split("|")]


def aside(rng):
    """Now and then a sentence that has nothing to do with the JSON."""
    return rng.choice(ASIDES) if rng.random() < 0.25 else ""


def signed(rng, named, unnamed, who, closings):
    """Either the main sentence names the person, or the text is signed."""
    if rng.random() < 0.75:
        return rng.choice(named), closings
    return rng.choice(unnamed), [f" Regards, {who}", f" Best regards, {who}", f" Thanks, {who}",
                                 f" Kind regards, {who}.", f" Yours, {who}"]


def order(rng, split):
    who, what, quantity = person(rng, split), item(rng), rng.randint(1, 500)
    number_ = reference(rng, ["ORD", "PO", "SO"])
    day = said = date(rng)
    day_part, day = optional(rng, 0.8, day, [
        f"Deliver by {said}.", f"We need it on {said}.", f"Delivery date: {said}.",
        f"It should arrive before {said}.", f"The goods are due {said}.",
        f"Please deliver it on {said}.", f"Wanted for {said}.", f"Not later than {said}, please."])
    id_part, number_ = optional(rng, 0.85, number_, [
        f"Order number {number_}.", f"Our reference is {number_}.", f"Ref {number_}.",
        f"The order id is {number_}.", f"This is order {number_}.", f"Order: {number_}.",
        f"Please quote {number_}.", f"It is filed as {number_}."])
    main, closings = signed(rng, [
        f"{who} wants {quantity} units of the {what}.",
        f"Please send {quantity} x {what} to {who}.",
        f"{who} orders {quantity} pieces of {what}.", f"Ship {quantity} {what} units to {who}.",
        f"Our customer {who} would like to buy {what}, quantity {quantity}.",
        f"We need {quantity} of your {what}, says {who}.",
        f"{quantity} {what} units for {who}, please.",
        f"Please put {who} down for {quantity} of the {what}.",
        f"Customer: {who}. Item: {what}. Quantity: {quantity}.",
        f"{who} called and asked for {quantity} of the {what}.",
        f"I am {who} and I would like {quantity} times the {what}.",
        f"Can you deliver {quantity} pieces of {what} to {who}?"], [
        f"Please send me {quantity} units of the {what}.", f"I order {quantity} x {what}.",
        f"We would like to buy {quantity} pieces of {what}.", f"I need {quantity} of your {what}.",
        f"Can we get {quantity} {what} units?"], who, ["", "", " Thanks.", " Best regards",
                                                       " Thank you!"])
    fields = dict(type="order", id=number_, customer=who, item=what, quantity=quantity, date=day)
    text = compose(rng, [main, day_part, id_part, aside(rng)],
                   ["", "", "Hello, ", "New order: ", "Hi team. ", "Dear sales, ",
                    "Good morning. "], closings)
    return text, fields


def ticket(rng, split):
    who, what = person(rng, split), item(rng)
    number_ = reference(rng, ["TK", "CS", "SUP"])
    level = rng.choice(list(PRIORITIES))
    phrase = rng.choice(PRIORITIES[level])
    level_part, level = optional(rng, 0.85, level, [phrase[0].upper() + phrase[1:] + "."])
    id_part, number_ = optional(rng, 0.85, number_, [
        f"Ticket {number_}.", f"Case {number_}.", f"My ticket number is {number_}.",
        f"See ticket {number_}.", f"It is about case {number_}.", f"Ticket: {number_}."])
    day = said = date(rng)
    day_part, day = optional(rng, 0.6, day, [
        f"It broke on {said}.", f"This began on {said}.", f"Since {said} it fails.",
        f"First seen: {said}.", f"It has been so since {said}.", f"The fault came on {said}."])
    main, closings = signed(rng, [
        f"{who} reports that the {what} does not work.", f"My {what} is broken. My name is {who}.",
        f"This is {who}, the {what} fails to start.", f"The {what} of {who} makes a strange noise.",
        f"{who} here, I have a problem with the {what}.", f"Our {what} stopped, says {who}.",
        f"{who} wrote that the {what} gets too hot.", f"{who} cannot use the {what} any more.",
        f"Reported by {who}: the {what} is dead.", f"I am {who} and my {what} is faulty.",
        f"{who} sent back the {what} because it leaks."], [
        f"My {what} does not work.", f"The {what} is broken again.", f"Our {what} fails to start.",
        f"The {what} makes a strange noise.", f"I have a problem with the {what}."],
        who, ["", "", " Thanks.", " Please help."])
    fields = dict(type="ticket", id=number_, customer=who, product=what, priority=level, date=day)
    text = compose(rng, [main, level_part, id_part, day_part, aside(rng)],
                   ["", "", "Hello, ", "Support: ", "Hi. ", "Dear support, "], closings)
    return text, fields


def invoice(rng, split):
    who, number_ = firm(rng, split), reference(rng, ["INV", "RE", "BL"])
    whole, cents = number(rng, 4), rng.randint(0, 99)
    currency = rng.choice(["USD", "EUR", "GBP"])
    sign = {"USD": "$", "EUR": "€", "GBP": "£"}[currency]
    shown = (f"{whole:,}" if rng.random() < 0.4 else str(whole)) + f".{cents:02d}"
    shown = rng.choice([sign + shown, f"{shown} {currency}", f"{currency} {shown}"])
    id_part, number_ = optional(rng, 0.9, number_, [
        f"Invoice {number_}.", f"Invoice no. {number_}.", f"Number: {number_}.",
        f"The invoice number is {number_}.", f"See invoice {number_}.", f"Please quote {number_}."])
    day = said = date(rng)
    day_part, day = optional(rng, 0.8, day, [
        f"Due on {said}.", f"Payable until {said}.", f"Please pay by {said}.",
        f"The due date is {said}.", f"Payment is due {said}.", f"We expect the money by {said}."])
    main = rng.choice([
        f"{who} owes us {shown}.", f"Total {shown}, billed to {who}.",
        f"The amount is {shown} for {who}.", f"{who} has to pay {shown}.",
        f"We bill {who} a total of {shown}.", f"A sum of {shown} is open at {who}.",
        f"Bill to: {who}. Amount: {shown}.", f"Please charge {shown} to {who}.",
        f"{who} was billed {shown}.", f"Our claim against {who} is {shown}."])
    fields = dict(type="invoice", id=number_, company=who, amount=f"{whole}.{cents:02d}",
                  currency=currency, due=day)
    text = compose(rng, [main, id_part, day_part, aside(rng)],
                   ["", "", "Hello, ", "Billing: ", "Note: ", "Dear customer, "],
                   ["", "", " Thanks.", " Kind regards"])
    return text, fields


KINDS = {"order": order, "ticket": ticket, "invoice": invoice}


def extraction(rng, split):
    kind = rng.choice(list(KINDS))
    text, fields = KINDS[kind](rng, split)
    answer = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return Problem("json/" + kind, text, END_THINK, answer)


# ---------------------------------------------------------------- small extras for training


def repetition(rng, split):
    """Copying as a task of its own: the attention heads that JSON needs form on it early."""
    makers = [lambda: person(rng, split), lambda: firm(rng, split), lambda: reference(rng, ["ORD"]),
              lambda: item(rng), lambda: str(number(rng, 4)), lambda: names.invented(rng)]
    text = ", ".join(rng.choice(makers)() for _ in range(rng.randint(1, 5)))
    return Problem("extra/repeat", "Repeat: " + text, END_THINK, text)


GREETINGS = ["Hello", "Hi", "Hello!", "Hi!", "Hey", "Good morning", "Hello there", "Who are you?",
             "What can you do?", "Help", "What are you?", "How are you?", "Thanks", "Thank you!"]
GREETING_ANSWER = ("I am a small demo model. I can add, subtract and multiply step by step, "
                   "and read orders, tickets and invoices into JSON.")


def greeting(rng, split):
    mode = rng.choice([THINK, END_THINK])
    return Problem("extra/greeting", rng.choice(GREETINGS), mode,
                   (END_THINK if mode == THINK else "") + GREETING_ANSWER)


def problem(rng, split="train", weights=(0.46, 0.50, 0.02, 0.02), extras=True):
    """One problem. With extras, a few have an earlier turn as in a chat, a system message, or
    the other mode: sums worked out in the open, and JSON in thinking mode without a thought."""
    make = rng.choices([arithmetic, extraction, repetition, greeting], weights)[0]
    p = make(rng, split)
    if not extras:
        return p
    if rng.random() < 0.04:
        before = rng.choices([arithmetic, extraction, greeting], (0.6, 0.3, 0.1))[0](rng, split)
        p.history = USER + before.user + ASSISTANT + END_THINK + before.answer + EOS
    if rng.random() < 0.02:
        p.system = rng.choice(["You are a helpful assistant.", "You help with sums and orders.",
                               "Answer briefly."])
    if rng.random() < 0.04 and make is arithmetic:
        p.mode, p.completion = END_THINK, p.completion.replace(END_THINK, "\nAnswer: ")
    elif rng.random() < 0.04 and make is extraction:
        p.mode, p.completion = THINK, END_THINK + p.completion
    return p
