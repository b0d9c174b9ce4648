"""Text for the tests: what the small tokenizers learn from, the model cards' examples, awkward inputs.

All of it is written out here, so that a vocabulary is the same on every machine.
"""

from __future__ import annotations

PROTEIN_QUERY = "how much protein should a female eat"
SUMMIT_QUERY = "summit define"
PUMPKIN_QUERY = "南瓜的家常做法"

PROTEIN_PASSAGE = (
    "As a general guideline, the CDC's average requirement of protein for women ages 19 to 70 is 46 grams per day. "
    "But, as you can see from this chart, you'll need to increase that if you're expecting or training for a marathon. "
    "Check out the chart below to see how much protein you should be eating each day."
)
SUMMIT_PASSAGE = (
    "Definition of summit for English Language Learners. : 1  the highest point of a mountain : the top of a mountain. "
    ": 2  the highest level. : 3  a meeting or series of meetings between the leaders of two or more governments."
)
PUMPKIN_PASSAGE = (
    "1.清炒南瓜丝 原料:嫩南瓜半个 调料:葱、盐、白糖、鸡精 做法: 1、南瓜用刀薄薄的削去表面一层皮,用勺子刮去瓤 "
    "2、擦成细丝(没有擦菜板就用刀慢慢切成细丝) 3、锅烧热放油,入葱花煸出香味 "
    "4、入南瓜丝快速翻炒一分钟左右,放盐、一点白糖和鸡精调味出锅 2.香葱炒南瓜 原料:南瓜1只 调料:香葱、蒜末、橄榄油、盐 "
    "做法: 1、将南瓜去皮,切成片 2、油锅8成热后,将蒜末放入爆香 3、爆香后,将南瓜片放入,翻炒 "
    "4、在翻炒的同时,可以不时地往锅里加水,但不要太多 5、放入盐,炒匀 6、南瓜差不多软和绵了之后,就可以关火 "
    "7、撒入香葱,即可出锅"
)

CARD_MATRICES: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "English": ((PROTEIN_QUERY, SUMMIT_QUERY), (PROTEIN_PASSAGE, SUMMIT_PASSAGE)),
    "multilingual and instruct": ((PROTEIN_QUERY, PUMPKIN_QUERY), (PROTEIN_PASSAGE, PUMPKIN_PASSAGE)),
}
"""The examples of the cards as (queries, passages); the passage that answers a query stands at its place."""

TRAINING_TEXT = f"""
query passage instruct query given a web search query retrieve relevant passages that answer the query
Query Passage Instruct Query Given a web search query, retrieve relevant passages that answer the query
Retrieve semantically similar text. Retrieve parallel sentences. Identify the topic of the given article.
{PROTEIN_QUERY}
{PROTEIN_PASSAGE}
{SUMMIT_QUERY}
{SUMMIT_PASSAGE}
{PUMPKIN_QUERY}
{PUMPKIN_PASSAGE}
The quick brown fox jumps over the lazy dog while seven wizards brew a boxful of quartz jam.
A search engine reads a question, compares it with every document, and shows the closest ones first.
Embeddings are lists of numbers: similar meanings lie close together, different meanings lie far apart.
The river rose in the night, and by morning the bridge had gone; nobody in the village was surprised.
Photosynthesis turns light, water and carbon dioxide into sugar and oxygen inside the leaves of plants.
She bought three apples, two loaves of bread, 250 grams of butter and a bottle of milk for 17.40 euros.
In 1969 people walked on the moon for the first time; they brought home 21.5 kilograms of stones.
Wash the rice twice, cook it for twelve minutes, let it rest with the lid on, and serve it with soup.
Bees find flowers by colour and scent, and tell each other the way by dancing in the dark hive.
An old clock on the tower strikes every hour, but it has been five minutes late since the war.
def average(values): return sum(values) / len(values)  # empty lists raise ZeroDivisionError
SELECT name, price FROM fruit WHERE price < 10 ORDER BY price DESC; -- the cheapest come last
Der Fluss stieg in der Nacht, und am Morgen war die Brücke verschwunden; im Dorf wunderte sich niemand.
Die Suchmaschine liest eine Frage, vergleicht sie mit jedem Dokument und zeigt die ähnlichsten zuerst.
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, während Bienen fröhlich summen.
La rivière a monté pendant la nuit et, au matin, le pont avait disparu ; personne au village ne fut surpris.
Combien de protéines une femme doit-elle manger chaque jour ? Environ quarante-six grammes, selon le guide.
El río creció durante la noche y por la mañana el puente ya no estaba; nadie en el pueblo se sorprendió.
¿Cuántos gramos de proteína debe comer una mujer cada día? El niño soñó con pingüinos y murciélagos.
Il fiume è salito nella notte e al mattino il ponte non c'era più; nel villaggio nessuno si stupì.
O rio subiu durante a noite e de manhã a ponte já não estava lá; a avó fez pão com maçã e canção.
Rzeka przybrała w nocy, a rano mostu już nie było; we wsi nikt się nie zdziwił. Zażółć gęślą jaźń.
Řeka v noci stoupla a ráno už most nestál; ve vesnici se nikdo nedivil. Příliš žluťoučký kůň úpěl.
Nehir gece yükseldi ve sabah köprü yoktu; köyde kimse şaşırmadı. İstanbul'da çay içtik, ığdır uzak.
Река поднялась ночью, и к утру моста уже не было; в деревне никто не удивился.
Сколько белка должна есть женщина каждый день? Поисковая система сравнивает вопрос с каждым документом.
Το ποτάμι φούσκωσε τη νύχτα και το πρωί η γέφυρα είχε χαθεί· κανείς στο χωριό δεν ξαφνιάστηκε.
הנהר עלה בלילה, ובבוקר הגשר כבר לא היה שם; איש בכפר לא הופתע. כמה חלבון צריכה אישה לאכול?
ارتفع النهر في الليل، وفي الصباح لم يعد الجسر موجودا؛ لم يتفاجأ أحد في القرية. كم من البروتين يوميا؟
नदी रात में बढ़ गई और सुबह तक पुल गायब था; गाँव में किसी को आश्चर्य नहीं हुआ। महिला को कितना प्रोटीन चाहिए?
แม่น้ำเอ่อขึ้นในตอนกลางคืน และตอนเช้าสะพานก็หายไป ไม่มีใครในหมู่บ้านแปลกใจ
昨夜川が増水し、朝には橋がなくなっていたが、村では誰も驚かなかった。検索エンジンは質問を読みます。
ひらがなとカタカナ、かぼちゃの煮物の作り方を教えてください。タンパク質は一日に何グラム必要ですか。
밤사이 강물이 불어났고 아침에는 다리가 사라졌지만 마을 사람들은 아무도 놀라지 않았다. 검색 엔진은 질문을 읽습니다.
夜里河水上涨,早上桥不见了,村里没有人感到惊讶。搜索引擎读取问题,并与每个文档进行比较。
Sông dâng lên trong đêm và đến sáng cây cầu đã biến mất; trong làng không ai ngạc nhiên.
Joen vesi nousi yöllä, ja aamulla silta oli poissa; kylässä kukaan ei hämmästynyt.
"""

MULTILINGUAL_TEXTS = (
    "Wie viel Eiweiß sollte eine Frau essen?",
    "Où est passée la rivière ? Là-bas, près de l'île.",
    "Сколько белка нужно женщине в день",
    "كم من البروتين تحتاج المرأة كل يوم",
    "महिला को कितना प्रोटीन चाहिए?",
    "ไม่มีใครในหมู่บ้านแปลกใจ",
    "かぼちゃの煮物の作り方",
    "밤사이 강물이 불어났고",
    "İSTANBUL ığdır ŞAŞIRMADI",
    "ﬁne ｗｉｄｅ ½ ² Å ﷺ ㍿ e\u0301 \u00e9",
)

AWKWARD_TEXTS = (
    "👩‍👩‍👧‍👦 family, flag 🇩🇪, thumbs 👍🏽, heart ❤️",
    "a <s> b </s> c <pad> <unk> <mask> d",
    "a [SEP] b [CLS] [MASK] [PAD] [UNK] c",
    "<s>[CLS]</s>[SEP]",
    "nul \x00 bell \x07 escape \x1b[31m delete \x7f next line \x85 end",
    "tab\tnew line\ncarriage\rform\x0cfeed\u2028separator",
    "zero\u200bwidth \u200e\u200fmarks \u202eoverride\u202c \u061c \ufeff bom \u00ad soft",
    "nbsp\u00a0here\u3000and ideographic",
    "combining n\u0303 \u0061\u0308 vs \u00e4 and Z\u0351\u036b\u0343\u036a\u0302",
    "underline ▁ in▁the text ▁▁",
    "  leading and trailing blanks   inside  ",
    ".",
    "a",
    "\U0001f984\U0002f81a\ufffd\uffff",
    "{{x}} ${alert(1)} <img src=x onerror=alert(1)>",
    "supercalifragilisticexpialidocious" * 4,
    "query: already prompted",
)

ORDINARY_TEXTS = (PROTEIN_QUERY, SUMMIT_QUERY, PUMPKIN_QUERY, PROTEIN_PASSAGE, SUMMIT_PASSAGE, PUMPKIN_PASSAGE)

ALL_TEXTS = ORDINARY_TEXTS + MULTILINGUAL_TEXTS + AWKWARD_TEXTS
