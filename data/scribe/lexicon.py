"""The words that encounters and notes are made of: spoken, spelled out, and short.

Everything here is invented for language practice. Pairings of complaint, drug and dose carry no medical meaning.
"""

from typing import NamedTuple


class Complaint(NamedTuple):
    """One reason for a visit, with what may be asked, found and prescribed for it."""

    spoken: str
    written: str
    diagnosis_spoken: str
    diagnosis: str
    diagnosis_short: str
    symptoms: tuple[str, ...]
    findings: tuple[tuple[str, str], ...]
    drugs: tuple[str, ...]


class Term(NamedTuple):
    """One thing said three ways: by the patient or doctor aloud, spelled out in a note, and abbreviated."""

    spoken: str
    written: str
    short: str


COMPLAINTS = (
    Complaint(
        "a bad cough",
        "cough",
        "pneumonia",
        "community-acquired pneumonia",
        "CAP",
        ("fever", "chills", "shortness of breath", "chest tightness", "green sputum", "wheezing"),
        (
            ("crackles at the right base", "crackles R base"),
            ("decreased breath sounds on the left", "dec BS L"),
            ("rhonchi in both lungs", "rhonchi b/l"),
        ),
        ("amoxicillin", "azithromycin", "doxycycline", "levofloxacin"),
    ),
    Complaint(
        "a sore throat",
        "sore throat",
        "strep throat",
        "streptococcal pharyngitis",
        "strep pharyngitis",
        ("fever", "runny nose", "chills", "swollen glands", "trouble swallowing", "headache"),
        (
            ("red tonsils with exudate", "tonsillar exudate"),
            ("tender cervical nodes", "tender cerv LAD"),
        ),
        ("penicillin", "cephalexin", "amoxicillin", "clindamycin"),
    ),
    Complaint(
        "burning when I urinate",
        "dysuria",
        "a bladder infection",
        "urinary tract infection",
        "UTI",
        ("fever", "back pain", "blood in the urine", "frequent urination", "nausea"),
        (
            ("mild suprapubic tenderness", "mild suprapubic TTP"),
            ("no flank tenderness", "no CVAT"),
        ),
        ("nitrofurantoin", "trimethoprim", "cephalexin", "fosfomycin"),
    ),
    Complaint(
        "lower back pain",
        "low back pain",
        "a lumbar strain",
        "lumbar strain",
        "lumbar strain",
        ("leg weakness", "numbness", "pain down the leg", "trouble sleeping", "loss of bladder control"),
        (
            ("tight paraspinal muscles", "paraspinal spasm"),
            ("a negative straight leg raise", "SLR neg b/l"),
        ),
        ("ibuprofen", "naproxen", "cyclobenzaprine", "meloxicam"),
    ),
    Complaint(
        "really bad headaches",
        "headaches",
        "migraine",
        "migraine without aura",
        "migraine w/o aura",
        ("nausea", "light sensitivity", "vomiting", "neck stiffness", "blurred vision"),
        (
            ("a normal neurologic exam", "neuro nonfocal"),
            ("tender temples", "temporal TTP"),
        ),
        ("sumatriptan", "topiramate", "propranolol", "rizatriptan"),
    ),
    Complaint(
        "heartburn after meals",
        "heartburn",
        "acid reflux",
        "gastroesophageal reflux disease",
        "GERD",
        ("trouble swallowing", "weight loss", "nausea", "night cough", "black stools"),
        (
            ("mild epigastric tenderness", "mild epigastric TTP"),
            ("a soft abdomen", "abd soft NT"),
        ),
        ("omeprazole", "famotidine", "pantoprazole", "esomeprazole"),
    ),
    Complaint(
        "an itchy rash",
        "rash",
        "contact dermatitis",
        "allergic contact dermatitis",
        "allergic contact derm",
        ("fever", "facial swelling", "blisters", "joint pain", "trouble sleeping"),
        (
            ("red papules on both arms", "papules b/l arms"),
            ("scaly patches on the hands", "scaly patches hands"),
        ),
        ("hydrocortisone", "triamcinolone", "cetirizine", "prednisone"),
    ),
    Complaint(
        "a wheezing chest",
        "wheezing",
        "an asthma flare",
        "acute asthma exacerbation",
        "asthma exac",
        ("fever", "night cough", "shortness of breath", "trouble sleeping", "chest pain"),
        (
            ("diffuse expiratory wheezes", "diffuse exp wheeze"),
            ("a prolonged expiratory phase", "prolonged exp phase"),
        ),
        ("albuterol", "prednisone", "budesonide", "montelukast"),
    ),
    Complaint(
        "high sugar readings",
        "elevated glucose",
        "type 2 diabetes",
        "type 2 diabetes mellitus",
        "T2DM",
        ("increased thirst", "frequent urination", "weight loss", "blurred vision", "numbness"),
        (
            ("normal foot sensation", "foot sensation intact"),
            ("dry skin on the feet", "dry skin feet"),
        ),
        ("metformin", "glipizide", "empagliflozin", "sitagliptin"),
    ),
    Complaint(
        "high pressure readings at home",
        "elevated blood pressure",
        "high blood pressure",
        "essential hypertension",
        "HTN",
        ("headache", "chest pain", "blurred vision", "leg swelling", "dizziness"),
        (
            ("regular heart sounds", "RRR no murmur"),
            ("no ankle swelling", "no LE edema"),
        ),
        ("lisinopril", "amlodipine", "losartan", "hydrochlorothiazide"),
    ),
    Complaint(
        "knee pain",
        "knee pain",
        "arthritis in the knee",
        "osteoarthritis of the knee",
        "knee OA",
        ("morning stiffness", "knee swelling", "locking", "leg weakness", "fever"),
        (
            ("crepitus with motion", "crepitus w/ ROM"),
            ("a small effusion", "small effusion"),
        ),
        ("acetaminophen", "naproxen", "diclofenac", "meloxicam"),
    ),
    Complaint(
        "no energy and a low mood",
        "low mood",
        "depression",
        "major depressive disorder",
        "MDD",
        ("trouble sleeping", "poor appetite", "suicidal thoughts", "weight loss", "anxiety"),
        (
            ("a flat affect", "flat affect"),
            ("good eye contact", "good eye contact"),
        ),
        ("sertraline", "fluoxetine", "escitalopram", "bupropion"),
    ),
    Complaint(
        "ear pain",
        "ear pain",
        "a middle ear infection",
        "acute otitis media",
        "AOM",
        ("fever", "hearing loss", "ear drainage", "dizziness", "runny nose"),
        (
            ("a bulging red eardrum", "TM bulging/red"),
            ("a normal ear canal", "canal nl"),
        ),
        ("amoxicillin", "cefdinir", "ibuprofen", "azithromycin"),
    ),
    Complaint(
        "a stuffy face and nose",
        "sinus congestion",
        "a sinus infection",
        "acute bacterial sinusitis",
        "sinusitis",
        ("fever", "facial pain", "tooth pain", "night cough", "headache"),
        (
            ("tender cheeks", "maxillary TTP"),
            ("swollen nasal lining", "boggy turbinates"),
        ),
        ("amoxicillin", "doxycycline", "fluticasone", "levofloxacin"),
    ),
    Complaint(
        "a painful swollen toe",
        "toe pain",
        "gout",
        "acute gouty arthritis",
        "acute gout",
        ("fever", "joint pain", "redness", "trouble walking", "chills"),
        (
            ("a warm red big toe joint", "1st MTP warm/red"),
            ("a tender first toe", "1st MTP TTP"),
        ),
        ("colchicine", "indomethacin", "allopurinol", "prednisone"),
    ),
    Complaint(
        "trouble sleeping",
        "insomnia",
        "insomnia",
        "chronic insomnia",
        "insomnia",
        ("anxiety", "snoring", "headache", "night sweats", "leg cramps"),
        (
            ("a tired appearance", "tired-appearing"),
            ("a normal thyroid", "thyroid nl"),
        ),
        ("trazodone", "melatonin", "doxepin", "hydroxyzine"),
    ),
)

SHORT_SYMPTOMS = {
    "shortness of breath": "SOB",
    "chest pain": "CP",
    "frequent urination": "frequency",
    "blood in the urine": "hematuria",
    "trouble swallowing": "dysphagia",
    "trouble sleeping": "poor sleep",
    "weight loss": "wt loss",
    "headache": "HA",
    "runny nose": "rhinorrhea",
    "light sensitivity": "photophobia",
    "vomiting": "emesis",
    "leg swelling": "LE edema",
    "leg weakness": "LE weakness",
    "increased thirst": "polydipsia",
    "back pain": "LBP",
    "black stools": "melena",
}

FREQUENCIES = (
    Term("once a day", "once daily", "daily"),
    Term("twice a day", "twice daily", "BID"),
    Term("three times a day", "three times daily", "TID"),
    Term("four times a day", "four times daily", "QID"),
    Term("every night at bedtime", "at bedtime", "QHS"),
    Term("every six hours", "every six hours", "q6h"),
    Term("every morning", "every morning", "QAM"),
)

PAST_PROBLEMS = (
    Term("high blood pressure", "hypertension", "HTN"),
    Term("diabetes", "diabetes mellitus", "DM"),
    Term("asthma", "asthma", "asthma"),
    Term("high cholesterol", "hyperlipidemia", "HLD"),
    Term("atrial fibrillation", "atrial fibrillation", "AF"),
    Term("kidney disease", "chronic kidney disease", "CKD"),
    Term("a thyroid problem", "hypothyroidism", "hypothyroid"),
    Term("heart failure", "heart failure", "CHF"),
)

ALLERGENS = (
    Term("penicillin", "penicillin", "PCN"),
    Term("sulfa", "sulfa", "sulfa"),
    Term("aspirin", "aspirin", "ASA"),
    Term("latex", "latex", "latex"),
    Term("codeine", "codeine", "codeine"),
    Term("shellfish", "shellfish", "shellfish"),
)

LABS = (
    Term("a blood count", "a complete blood count", "CBC"),
    Term("a metabolic panel", "a basic metabolic panel", "BMP"),
    Term("a chest x-ray", "a chest radiograph", "CXR"),
    Term("a urine test", "a urinalysis", "UA"),
    Term("a thyroid test", "thyroid function testing", "TSH"),
    Term("an EKG", "an electrocardiogram", "EKG"),
    Term("an A1c", "a hemoglobin A1c", "A1c"),
)

SPECIALTIES = (
    Term("cardiology", "cardiology", "cards"),
    Term("physical therapy", "physical therapy", "PT"),
    Term("dermatology", "dermatology", "derm"),
    Term("gastroenterology", "gastroenterology", "GI"),
    Term("neurology", "neurology", "neuro"),
    Term("pulmonology", "pulmonology", "pulm"),
)

UNITS = (("day", "d"), ("week", "wk"), ("month", "mo"))
DOSES_MG = (
    *(5, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 80, 100, 120, 125, 150, 200, 225, 250, 300, 325),
    *(350, 375, 400, 450, 500, 550, 600, 650, 750, 800, 850, 875, 1000),
)
NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
SYLLABLES = (
    "zol van ta rem ri cor bex lu mi pra tiv no dal xi fen qua so ber gil te kor vy nex al dro pil um ac sy tor "
    "mar lin de fo pex ur an ze ket bru"
).split()

GREETINGS = (
    "Good morning, how are you today?",
    "Hi there, come on in and have a seat.",
    "Thanks for waiting, it has been busy today.",
    "Nice to see you again.",
    "Hello, I read the nurse's message.",
)
REPLIES = (
    "I'm okay, thanks.",
    "Not great, to be honest.",
    "Oh, you know, getting by.",
    "Could be better, doctor.",
    "My daughter drove me here.",
)
SMALL_TALK = (
    ("How is the family?", "They are fine, my son just started school."),
    ("Did you watch the game?", "I missed it, I was working late."),
    ("Is it still raining?", "Yes, it rained all week."),
    ("Are you still working at the shop?", "Yes, three shifts this week."),
)
