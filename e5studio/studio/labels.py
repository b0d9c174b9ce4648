"""The labels of the page in Chinese, for visitors whose browser asks for it. The English label is the key.

Labels, choices, headings and column names are here; sentences about a result stay English.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradio.i18n import I18n

CHINESE: dict[str, str] = {
    # Header and inputs
    "What E5 embeddings say about your texts": "看看 E5 向量如何理解你的文本",
    "Model": "模型",
    "How the texts are used": "文本用途",
    "Query → passage": "查询 → 段落",
    "Instruction + query": "指令 + 查询",
    "Symmetric": "对称",
    "No prompt": "不加前缀",
    "Instruction": "指令",
    "The task in one sentence": "用一句话描述任务",
    "Try": "示例",
    "English": "英文",
    "Multilingual": "多语言",
    "Instruct": "指令模型",
    "Offline": "离线",
    "Eight questions": "八个问题",
    "Similar sentences": "相似句子",
    "Too long": "过长文本",
    "Queries": "查询",
    "Passages": "段落",
    "Texts": "文本",
    "Compare with": "比较对象",
    "One text per line": "每行一条文本",
    "Leave empty to compare the texts with each other": "留空则文本之间相互比较",
    "Leave empty to compare the queries with each other": "留空则查询之间相互比较",
    "Where a text ends": "文本分隔方式",
    "Each line is a text": "每行一条文本",
    "Blank lines between texts": "以空行分隔文本",
    "Score": "评分",
    "Stop": "停止",
    "Copy link": "复制链接",
    "Open a saved page": "打开已保存的页面",
    "here": "已在本机",
    # Scores
    "Scores": "得分",
    "Order": "排列",
    "As written": "按输入顺序",
    "Best first": "高分在前",
    "Groups together": "按分组",
    "See how close each query is to each passage": "看看每个查询与每个段落有多接近",
    "What the model read": "模型读到了什么",
    "Best of each only": "只看每行最佳",
    "best": "最佳",
    "Query": "查询",
    "Passage": "段落",
    "Text": "文本",
    "Compared with": "比较对象",
    "Rank": "名次",
    # Why
    "Is this score high?": "这个得分高吗?",
    "Why this score?": "得分从何而来?",
    "What was read of the two": "这两条文本被读入的部分",
    "Show": "显示",
    "All of the score": "全部得分",
    "Beyond what all texts share": "去除所有文本的共同部分",
    "Leave out each word": "逐词去除",
    # Map
    "Map": "地图",
    "Projection": "投影",
    "Between the sides": "两侧之间",
    "Dimensions": "维度",
    "2D": "二维",
    "3D": "三维",
    "Colour": "颜色",
    "Side": "两侧",
    "Group": "分组",
    "Neighbours kept": "邻居保留率",
    "Best score": "最高得分",
    "Length": "长度",
    "Neighbours": "邻居数",
    "Few show details, many the whole": "少则见细节,多则见整体",
    "Distance": "距离",
    "How close points may lie": "点与点可以多近",
    "Perplexity": "困惑度",
    "How many neighbours count": "计入多少邻居",
    "Seed": "随机种子",
    "The same number, the same map": "种子相同则地图相同",
    "See which texts lie near each other": "看看哪些文本彼此靠近",
    "List all texts again": "重新列出全部文本",
    "Nearest text": "最近的文本",
    "Kept": "保留率",
    "Tokens": "词元数",
    "Nearest in all dimensions, with cosine × 100, joined by lines": "在全部维度中最近的文本(余弦 × 100,以线相连)",
    # Compare
    "Compare": "比较",
    "At one click": "一键比较",
    "With and without prompts": "加前缀与不加前缀",
    "Another instruction": "另一条指令",
    "float32 and int8": "float32 与 int8",
    "A: as on the left": "A:与左侧相同",
    "B: the same texts with": "B:同样的文本,改用",
    "Precision": "精度",
    "Computed by": "计算后端",
    "Fastest here": "本机最快",
    "Passage 1 answers query 1, passage 2 query 2, and so on": "段落 1 回答查询 1,段落 2 回答查询 2,依此类推",
    "One query, both orders": "同一查询的两种排序",
    "What moves, and what it gains": "变化多少,得到什么",
    "Both maps": "两张地图",
    "Map of A": "A 的地图",
    "Map of B": "B 的地图",
    "Change": "变化",
    "Rank A": "A 的名次",
    "Rank B": "B 的名次",
    "Before queries": "查询前",
    "Before passages": "段落前",
    "Same best": "最佳相同",
    "Lead": "领先",
    "Right first": "正确居首",
    "all pairs": "全部配对",
    # Saving
    "Save": "保存",
    "scores": "得分",
    "vectors": "向量",
    "page": "页面",
    "picture": "图片",
    "texts and places": "文本与位置",
}


def label(english: str) -> Any:
    """What Gradio shows as this label in the visitor's language."""
    from gradio.i18n import I18nData

    return I18nData(english)


def translations() -> I18n:
    """For Gradio's `launch`; in any other language a label is its key."""
    from gradio.i18n import I18n

    return I18n(en={}, **{"zh-CN": CHINESE})
