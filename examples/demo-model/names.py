"""Names of people and firms: real parts, and invented ones spelt from syllables."""

FIRST = """Aaron Ada Adam Agnes Ahmed Aisha Alan Albert Alice Alma Amara Amir Amy Ana Anders Andrea
Anna
Anton Arjun Astrid Ava Ben Bertha Bilal Boris Bram Brenda Carla Carlos Carmen Cecil Celia Chen
Clara Colin Dana Daniel Daria David Dennis Diana Diego Dora Edith Edgar Elena Elias Elif Ella
Emil Emma Enzo Erik Esther Eva Fatima Felix Fiona Flora Frank Frida Gerda Gina Greta Gustav Hana
Hans Harold Hassan Helga Helen Henry Hilda Hugo Ibrahim Ida Igor Ines Ingrid Irene Ivan Jack
James Jamal Jana Jasmin Jens Joan Jonas Jorge Judith Julia Kamal Karen Karim Karl Katja Keiko
Kenji Kira Klara Lars Laura Layla Lena Leo Leon Lidia Lily Linda Lisa Liu Lola Lucas Lucy Luis
Magda Malik Mara Marco Maria Mario Marta Martin Max Maya Mei Mila Mina Mira Mona Nadia Naomi
Nelson Nico Nina Noah Nora Olga Oliver Omar Oscar Otto Pablo Paul Pedro Peter Petra Philip Priya
Quentin Rafael Rana Rashid Ravi Rita Robert Rosa Ruth Sabine Salma Samir Sandra Sara Selma
Sergei Silvia Simon Sofia Stella Sven Tamara Tariq Tessa Theo Thomas Tilda Tom Tomas Ursula Uma
Vera Victor Viola Walter Wanda Wei Wilma Xenia Yara Yasmin Yuki Yusuf Zara Zoe""".split()

LAST = """Abbott Acosta Adler Ahmed Albrecht Allen Alvarez Anders Arnold Bailey Baker Banerjee
Barnes
Bauer Becker Bell Bennett Berg Bianchi Blom Bose Brandt Brennan Brooks Brown Burton Carter
Castro Chandra Chang Chen Clark Collins Conti Cooper Costa Cruz Dahl Dalton Davies Delgado Diaz
Dietrich Dixon Doyle Duarte Dubois Duncan Eder Eklund Ellis Engel Evans Farrell Fernandez
Ferrari Fischer Fleming Flores Foster Fox Frank Fuchs Fuller Garcia Gibson Gomez Gordon Graham
Gray Greco Grant Gupta Haas Hahn Hall Hansen Harper Hart Hassan Hayes Heller Henning Hill
Hoffman Holm Horvath Howard Huber Hughes Hunt Hussain Ito Ivanov Jansen Jensen Johnson Jones
Joshi Kaiser Kaplan Kaur Keller Kelly Khan Kim King Klein Koch Kovacs Kowalski Kramer Kumar Lam
Lang Larsen Lee Lehmann Lewis Lin Lindberg Lopez Lorenz Lund Maier Malik Mann Marin Martin Mason
Mendez Mehta Meyer Miller Mitchell Moore Moreno Morgan Morris Moser Mueller Murphy Murray Nagel
Nair Nelson Neumann Nguyen Nielsen Nolan Novak Nowak Ochoa Olsen Ortega Otto Owen Palmer Park
Parker Patel Pereira Perez Peters Petrov Pham Pohl Popov Porter Powell Price Quinn Ramos Rao
Reed Reyes Richter Riley Rivera Roberts Rojas Romano Rossi Roth Rowe Russo Salazar Santos Sato
Sauer Schmidt Schneider Schulz Serrano Shah Sharma Silva Simon Singh Sokolov Stein Stone Suarez
Suzuki Tanaka Taylor Thomas Torres Tran Turner Usman Varga Vargas Vega Vogel Wagner Walker Walsh
Wang Ward Weber Weiss Werner West White Wolf Wong Wood Wright Yamada Yang Young Zhang
Zimmer""".split()

HEADS = [c + v for c in "B D F G H J K L M N P R S T V W Z Br Gr St Tr".split() for v in "aeiou"]
TAILS = """ban bert dan dex din dor gan gard kel kin kov lan len lin lor man mar mer min mond nak
nel nor
pell ran rek ric rin rox san sen sky son tan ter tin ton vak ven vin zan zer""".split()


def invented(rng):
    """A word of two syllables that may well be new to the model, for example 'Brakov'."""
    return rng.choice(HEADS) + rng.choice(TAILS)


def person(rng):
    first = rng.choice(FIRST) if rng.random() < 0.5 else invented(rng)
    last = rng.choice(LAST) if rng.random() < 0.5 else invented(rng)
    return f"{first} {last}"


def firm(rng):
    words = [rng.choice(LAST) if rng.random() < 0.3 else invented(rng)]
    if rng.random() < 0.3:
        words.append(rng.choice("Metal Paper Foods Marine Energy Glass Textile".split()))
    words.append(rng.choice(["Ltd", "Inc", "Group", "Works", "Trading"]))
    return " ".join(words)
